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

from gnnrec import plots
from gnnrec.encoders.media import Unreadable, read_image
from gnnrec.errors import count
from gnnrec.files import write_text
from gnnrec.progress import progress

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
class Bars:
    """Lying bars, drawn by the page itself: groups below each other, in each a bar for every series with a value."""

    heading: str
    caption: str = ""
    groups: Mapping[str, Mapping[str, float]]  # group -> series -> value, 0 or more

    @property
    def series(self) -> list[str]:
        return list(dict.fromkeys(name for values in self.groups.values() for name in values))

    @property
    def largest(self) -> float:
        return max((value for values in self.groups.values() for value in values.values()), default=0) or 1.0


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
    metric_names = list(data.models[0].metrics) if data.models else []
    best = {name: max(row.metrics.get(name, 0.0) for row in data.models) for name in metric_names}
    drawn = progress(_figures(data), text="drawing", unit="plot")
    return environment.get_template("report.html").render(
        data=data,
        figures=[(plot.heading, caption, Markup(plots.svg(plot))) for plot, caption in drawn],
        modalities=_modality_bars(data),
        cohorts=_cohort_bars(data),
        metric_names=metric_names,
        best=best,
        beyond_names=list(dict.fromkeys(name for values in data.beyond.values() for name in values)),
    )


def _figures(data: ReportData) -> list[tuple[plots.Plot, str]]:
    """The plots that there is data for, each with its finding and what to know about it."""
    made = plots.training_curves(data.log, data.validation_metric, metric_name(data.validation_metric))
    about = ""
    if data.popularity is not None:
        made.append(plots.long_tail(data.popularity, data.exposure))
        if data.exposure is not None:
            about = ". Lists that follow popularity more steeply than people do lie above the grey line on the left."
    if data.activity is not None:
        made.append(plots.activity(data.activity))
    if data.item_vectors is not None:
        made.append(plots.embedding_map(data.item_vectors, data.item_labels or [None] * len(data.item_vectors)))
    return [
        (plot, plot.finding[:1].upper() + plot.finding[1:] + about * (plot.heading == "Long tail")) for plot in made
    ]


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
