"""What a report shows. A part that is left empty leaves its section out.

Letters: U users, I items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.plots import Plot
from gnnrec.tuning import Study


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
    missed: Card | None = None  # what she took and the model did not see coming
    missed_at: str = ""  # where it ranked, in words


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
class MapPoint:
    """An item on the map. x and y from 0 to 1, y downwards."""

    x: float
    y: float
    title: str
    label: int  # place in EmbeddingMap.labels; -1 for all others
    popularity: int  # place in EmbeddingMap.popularity
    image: Path | None = None  # shown under the mouse


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingMap:
    points: Sequence[MapPoint]
    labels: Sequence[str]  # the most frequent ones
    popularity: Sequence[str]  # names of the classes of popularity, the most popular first
    num_items: int  # of the catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    title: str
    subtitle: str = ""
    headline: Mapping[str, Any] = field(default_factory=dict)  # a few numbers in large print: name -> value
    facts: Mapping[str, Any] = field(default_factory=dict)  # of the dataset
    models: Sequence[ModelRow] = ()
    fitted_here: Sequence[str] = ()  # names of the models that are no runs but were computed for the report
    beyond: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # model -> what its lists are like
    log: Sequence[Mapping[str, Any]] = ()  # rows with "epoch", "loss" and, where it was measured, `validation_metric`
    validation_metric: str = "ndcg@10"
    popularity: NDArray[np.int64] | None = None  # [I] users in train
    exposure: NDArray[np.int64] | None = None  # [I] lists the item is in
    activity: NDArray[np.int64] | None = None  # [U] interactions of each user
    tail: Bars | None = None  # who gets the places of the lists
    cohorts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # model -> Evaluation.cohorts
    cohort_metric: str = "ndcg@10"
    modality_shares: Mapping[str, float] = field(default_factory=dict)  # modality -> mean attention
    modality_plots: Sequence[Plot] = ()  # of a study of the modalities
    map: EmbeddingMap | None = None
    samples: Sequence[Sample] = ()
    failures: Sequence[Sample] = ()
    study: Study | None = None
    settings: str = ""  # TOML
    provenance: Mapping[str, Any] = field(default_factory=dict)
