"""One self-contained HTML file: everything is inside, nothing is loaded from anywhere."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec import plots
from gnnrec.encoders.media import thumbnail
from gnnrec.errors import count
from gnnrec.files import write_text
from gnnrec.progress import progress
from gnnrec.report.data import Bars, ReportData

WITH_PLOTS = ("data", "training", "tail", "modalities", "search")  # sections
SMALL = (52, 78)  # pixels of a picture on the map
MOST_LETTERS = 120  # of a title or a note: the file stays under 5 MB, see also item_map.py, people.py and THUMBNAIL
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))  # p below -> mark


def write_report(data: ReportData, path: Path) -> None:
    """Write the report to `path`, whole or not at all."""
    write_text(path, render_report(data))


def render_report(data: ReportData) -> str:
    """The report as HTML. Every text of the data is escaped; only our own plots are not."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, thumbnail=thumbnail, mark=mark, metric=metric_name, short=short)
    environment.filters["small_picture"] = partial(thumbnail, size=SMALL)
    metric_names = list(data.models[0].metrics) if data.models else []
    best = {name: max(row.metrics.get(name, 0.0) for row in data.models) for name in metric_names}
    figures: dict[str, list[tuple[str, str, str]]] = {section: [] for section in WITH_PLOTS}
    for section, plot, about in progress(_figures(data), text="drawing", unit="plot"):
        caption = plot.finding[:1].upper() + plot.finding[1:] + about
        figures[section].append((plot.heading, caption, Markup(plots.svg(plot))))
    return environment.get_template("report.html").render(
        data=data,
        figures=figures,
        modalities=_modality_bars(data),
        cohorts=_cohort_bars(data),
        metric_names=metric_names,
        best=best,
        beyond_names=list(dict.fromkeys(name for values in data.beyond.values() for name in values)),
    )


def _figures(data: ReportData) -> list[tuple[str, plots.Plot, str]]:
    """The plots that there is data for: section, plot, and what to know about it."""
    curves = plots.training_curves(data.log, data.validation_metric, metric_name(data.validation_metric))
    made = [("training", plot, "") for plot in curves]
    if data.popularity is not None:
        about = ". Lists that follow popularity more steeply than people do lie above the grey line on the left."
        made.append(("tail", plots.long_tail(data.popularity, data.exposure), about * (data.exposure is not None)))
        made.append(("tail", plots.lorenz(data.popularity, data.exposure), ""))
    if data.activity is not None:
        made.append(("data", plots.activity(data.activity), ""))
    made += [("modalities", plot, "") for plot in data.modality_plots]
    if data.study is not None:
        label = metric_name(data.study.metric)
        made.append(("search", plots.search([trial.value for trial in data.study.trials], label), ""))
    return made


def _modality_bars(data: ReportData) -> Bars | None:
    if not data.modality_shares:
        return None
    caption = "Mean weight of each modality in the items that have any, by the fusion."
    shares = {name: {"weight": value} for name, value in data.modality_shares.items()}
    return Bars(heading="Modalities", caption=caption, groups=shares)


def _cohort_bars(data: ReportData) -> list[Bars]:
    """Each kind of cohort that any of the models was measured on."""
    kinds: dict[str, dict[str, dict[str, float]]] = {}  # heading -> group -> model -> value
    for model, cohorts in data.cohorts.items():
        for heading, group, numbers in _groups(cohorts):
            if data.cohort_metric in numbers:
                name = f"{group}, {count(numbers['users'], 'user')}" if "users" in numbers else group
                kinds.setdefault(heading, {}).setdefault(name, {})[model] = numbers[data.cohort_metric]
    caption = f"{metric_name(data.cohort_metric)} by model."
    return [Bars(heading=heading, caption=caption, groups=groups) for heading, groups in kinds.items()]


def _groups(cohorts: Mapping[str, Any]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(heading, group, numbers) of everything in `Evaluation.cohorts`."""
    flat = [("Users by activity in train", name, group) for name, group in cohorts.get("user_activity", {}).items()]
    flat += [("Items by popularity", name, group) for name, group in cohorts.get("item_popularity", {}).items()]
    cold = cohorts.get("cold_items", {})
    flat.append(("Items never seen in train", "among all items", cold))
    among = cold.get("among_cold", {})
    flat.append(("Items never seen in train", "among themselves", {"users": cold.get("users", 0)} | among))
    for modality, parts in cohorts.get("missing_modality", {}).items():
        if parts["lacks"].get("users"):  # else there is nothing to compare
            flat += [("Items with and without content", f"{name} {modality}", group) for name, group in parts.items()]
    return flat


def number(value: Any) -> str:
    """90274 -> 90,274; .04981 -> 0.0498; 12.345 -> 12.35; text as it is."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        return f"{value:.4f}" if abs(float(value)) < 1 else f"{value:,.2f}"
    return str(value)


def metric_name(name: str) -> str:
    """ndcg@10 -> NDCG@10, recall@20 -> Recall@20."""
    base, _, cut = name.partition("@")
    shown = base.upper() if base in ("ndcg", "map", "mrr") else base.replace("_", " ").capitalize()
    return f"{shown}@{cut}" if cut else shown


def short(text: str) -> str:
    """The first MOST_LETTERS of a text, with an ellipsis where some are left out."""
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1].rstrip()}…"


def mark(p_value: float | None) -> str:
    """Stars of a p-value; empty at .05 and above."""
    return next((stars for level, stars in LEVELS if p_value is not None and p_value < level), "")
