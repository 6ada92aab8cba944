"""One self-contained HTML file: everything is inside, nothing is loaded from anywhere.

The caller fills `ReportData`; a part that is left empty leaves its section out.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.media import Unreadable, read_image
from gnnrec.files import write_text
from gnnrec.report import plots

THUMBNAIL = (120, 180)  # pixels; larger pictures are made smaller, which is what keeps the file small
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))  # p below -> mark


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One line of the table of models."""

    name: str
    metrics: Mapping[str, float]  # "ndcg@10" -> mean
    confidence: Mapping[str, Sequence[float]] = field(default_factory=dict)  # "ndcg@10" -> low, high
    p_values: Mapping[str, float] = field(default_factory=dict)  # of the difference to the model that is ours
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """An item as people see it."""

    title: str
    image: Path | None = None  # a picture that cannot be read counts as none
    note: str = ""  # small, below the title: genres, a score, a reason
    hit: bool = False  # it is among the user's held-out rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one user had, and what the model recommends."""

    user: str
    history: Sequence[Card]
    recommended: Sequence[Card]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """What a report shows; `inspect` fills what a dataset alone has. Letters: U users, I items, d dimensions."""

    title: str
    subtitle: str = ""
    headline: Mapping[str, Any] = field(default_factory=dict)  # a few numbers in large print: name -> value
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the dataset
    models: Sequence[ModelRow] = ()
    beyond: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # model -> what its lists are like
    log: Sequence[Mapping[str, Any]] = ()  # rows with "epoch", "loss" and, where it was measured, `validation_metric`
    validation_metric: str = "ndcg@10"
    popularity: NDArray[np.int64] | None = None  # [I] users in train
    exposure: NDArray[np.int64] | None = None  # [I] lists the item is in
    activity: NDArray[np.int64] | None = None  # [U] interactions of each user
    cohorts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # model -> Evaluation.cohorts
    cohort_metric: str = "ndcg@10"
    modality_shares: Mapping[str, float] = field(default_factory=dict)  # modality -> mean attention
    item_vectors: NDArray[np.float32] | None = None  # [I, d]
    item_labels: Sequence[str | None] = ()  # [I]
    samples: Sequence[Sample] = ()
    settings: str = ""  # TOML
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
    environment.filters.update(number=number, thumbnail=thumbnail, mark=mark, metric=metric_name)
    figures = [(heading, caption, Markup(svg)) for heading, caption, svg in _figures(data)]
    cohorts = [(heading, Markup(svg)) for heading, svg in _cohort_figures(data)]
    metric_names = list(data.models[0].metrics) if data.models else []
    best = {name: max(row.metrics.get(name, 0.0) for row in data.models) for name in metric_names}
    return environment.get_template("report.html").render(
        data=data,
        figures=figures,
        cohorts=cohorts,
        metric_names=metric_names,
        best=best,
        beyond_names=list(dict.fromkeys(name for values in data.beyond.values() for name in values)),
    )


def _figures(data: ReportData) -> list[tuple[str, str, str]]:
    """Heading, caption and SVG of the plots that there is data for."""
    figures = []
    if data.log:
        epochs, losses = _series(data.log, "loss")
        if losses:
            figures.append(
                ("Training loss", "Mean over the batches of an epoch.", plots.training_curve(epochs, losses, "loss"))
            )
        epochs, values = _series(data.log, data.validation_metric)
        if values:
            name = metric_name(data.validation_metric)
            curve = plots.training_curve(epochs, values, name, best=epochs[int(np.argmax(values))])
            figures.append(("Validation", f"{name} on the validation split, by which the weights are chosen.", curve))
    if data.popularity is not None:
        caption = "How much attention one item gets."
        if data.exposure is not None:
            caption += " A recommender that follows popularity more steeply than people do lies above the grey line "
            caption += "on the left and below it on the right."
        figures.append(("Long tail", caption, plots.long_tail(data.popularity, data.exposure)))
    if data.activity is not None:
        caption = "How many users have how many interactions."
        figures.append(("Activity", caption, plots.histogram(data.activity, "interactions of a user", "users")))
    if data.item_vectors is not None:
        caption = "Each dot is an item; what lies together is recommended together."
        labels = data.item_labels or [None] * len(data.item_vectors)
        figures.append(("Embedding map", caption, plots.embedding_map(data.item_vectors, labels)))
    if data.modality_shares:
        shares = {name: {"attention": value} for name, value in data.modality_shares.items()}
        caption = "Mean weight of each modality in the items that have it, by the fusion."
        figures.append(("Modalities", caption, plots.bars(shares, "share")))
    return figures


def _series(log: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of the rows that have the key."""
    rows = [row for row in log if row.get(key) is not None]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def _cohort_figures(data: ReportData) -> list[tuple[str, str]]:
    """Heading and SVG of each kind of cohort that any of the models was measured on."""
    kinds: dict[str, dict[str, dict[str, float]]] = {}  # heading -> group -> model -> value
    for model, cohorts in data.cohorts.items():
        for heading, group, numbers in _groups(cohorts):
            if data.cohort_metric in numbers:
                name = f"{group}\n{numbers['users']:,} users" if "users" in numbers else group
                kinds.setdefault(heading, {}).setdefault(name, {})[model] = numbers[data.cohort_metric]
    label = metric_name(data.cohort_metric)
    return [(heading, plots.bars(groups, label)) for heading, groups in kinds.items()]


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


def thumbnail(path: Path | None) -> str | None:
    """A picture as a data URI, at most THUMBNAIL large; None where there is none that can be read."""
    if path is None:
        return None
    try:
        image = read_image(path)
    except (OSError, Unreadable):
        return None
    image.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


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


def mark(p_value: float | None) -> str:
    """Stars of a p-value; empty at .05 and above."""
    return next((stars for level, stars in LEVELS if p_value is not None and p_value < level), "")
