"""Dataset: a log and what is known about its items and users, checked once and frozen.

External ids are strings; internal indexes are positions in `user_ids` and `item_ids`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError, count
from gnnrec.notebook import table

if TYPE_CHECKING:
    # They build on the readers, which build on this module.
    from gnnrec.datasets.feedback import Feedback
    from gnnrec.datasets.pseudonyms import Pseudonyms
    from gnnrec.datasets.sources.partitions import Partitions

SHOWN = 3  # items in a notebook
SPLIT_NAMES = ("train", "val", "test")

REJECTED_SCHEMA = pl.Schema({"file": pl.String, "line": pl.Int64, "reason": pl.String, "value": pl.String})


SPLIT_METHODS = ("auto", "published", "leave_last", "user_time", "global_time", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """How a log is cut into train, val and test."""

    method: str = "auto"  # one of SPLIT_METHODS; auto: the published column, else leave_last, without timestamps random
    val_share: float = 0.1  # of each user's (user_time, random) or of all (global_time) interactions
    test_share: float = 0.1
    users: int = 0  # of how many users, drawn by the seed, rows are held out to measure on; 0: of all
    seed: int = 0  # random, and where the published split has no val
    min_core: int = 0  # k of the k-core filter over all rows, test rows too; 0 leaves the log as it is

    def __post_init__(self) -> None:
        if self.method not in SPLIT_METHODS:
            raise UserError(f"split: method {self.method!r}; allowed: {', '.join(SPLIT_METHODS)}")
        if not (0 <= self.val_share < 1 and 0 <= self.test_share < 1 and self.val_share + self.test_share < 1):
            raise UserError(
                f"split: val_share {self.val_share} and test_share {self.test_share}; allowed: from 0, together below 1"
            )
        if min(self.min_core, self.seed, self.users) < 0:
            found = f"min_core {self.min_core}, seed {self.seed} and users {self.users}"
            raise UserError(f"split: {found} may not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    name: str
    root: Path  # the folder it was read from
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    interactions: Interactions
    published_split: NDArray[np.int8] | None = None  # [E] position in SPLIT_NAMES, -1 for a row in none of them
    split: SplitConfig = field(default_factory=SplitConfig)
    items: Catalog | None = None
    users: Catalog | None = None
    friends: NDArray[np.int32] | None = None  # [2, F] user indexes, each pair once
    # Modality -> [I, d] or [U, d]; a row of NaN says that the content is missing.
    item_features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    user_features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    below_min_rating: int = 0  # good rows of the log that min_rating left out
    lowest_below: float | None = None  # the lowest rating of those
    retention_days: float | None = None  # rows older than that, counted from the newest, were left out
    expired: int = 0  # how many
    pseudonyms: str | None = None  # by which its key is known, where users have pseudonyms
    rejected: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTED_SCHEMA))
    licence: str = ""
    feedback: "Feedback | None" = None  # whose events are among the interactions
    partitions: "tuple[Partitions, ...]" = ()  # whose rows are among all others

    def __post_init__(self) -> None:
        for name, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if len(set(ids)) != len(ids):
                raise ValueError(f"dataset {self.name}: {name} ids are not unique")
        if (self.interactions.num_users, self.interactions.num_items) != (len(self.user_ids), len(self.item_ids)):
            raise ValueError(f"dataset {self.name}: the log and the id lists differ in size")
        for name, catalog, ids in (("items", self.items, self.item_ids), ("users", self.users, self.user_ids)):
            if catalog is not None and len(catalog) != len(ids):
                raise ValueError(f"dataset {self.name}: [{name}] has {len(catalog)} rows for {len(ids)} ids")

    @property
    def rating_scale(self) -> tuple[float, float] | None:
        """The lowest and the highest rating, with those of rows below min_rating; None where ratings tell nothing."""
        rating = self.interactions.rating
        if rating is None or not len(rating):
            return None
        left_out = np.float32(np.nan if self.lowest_below is None else self.lowest_below)
        ends = np.fmin(np.fmin.reduce(rating), left_out), np.fmax.reduce(rating)
        low, high = (float(str(end)) for end in ends)  # 4.7 as people write it, not the float32 next to it
        return (low, high) if low < high else None

    def summary(self) -> str:
        """One line about its size."""
        return (
            f"{self.name}: {count(len(self.user_ids), 'user')}, {count(len(self.item_ids), 'item')}, "
            f"{count(len(self.interactions), 'interaction')}, {len(self.rejected):,} set aside (see gnnrec inspect)"
        )

    def _repr_html_(self) -> str:
        """For notebooks: sizes, content by modality, and the titles of some items."""
        pairs = len(self.user_ids) * len(self.item_ids)
        facts: list[list[object]] = [
            ["users", len(self.user_ids)],
            ["items", len(self.item_ids)],
            ["interactions", len(self.interactions)],
            ["density", self.interactions.matrix().nnz / max(pairs, 1)],
            ["rows set aside", len(self.rejected)],
            ["licence", self.licence or "not stated"],
        ]
        some: list[tuple[str, str | None]] = []
        if self.items is not None:
            for modality in self.items.modalities():
                present = sum(content is not None for content in self.items.content(modality))
                facts.append([f"items with {modality}", present])
            some = list(zip(self.item_ids[:SHOWN], self.items.titles()[:SHOWN]))
        facts += [[f"features: {name}", f"{values.shape[1]} dimensions"] for name, values in self.item_features.items()]
        return table(self.name, (), facts) + (table("Some items", ("id", "title"), some) if some else "")

    @classmethod
    def load(
        cls,
        path: str | Path,
        feedback: "Feedback | None" = None,
        pseudonyms: "Pseudonyms | None" = None,
        partitions: "Sequence[Partitions]" = (),
    ) -> "Dataset":
        """Read a folder with a dataset.toml, or with RecBole, MMRec, MovieLens or Hugging Face files as they are.

        feedback: what a service was told of (`open_feedback`), taken in as further rows of the log.
        pseudonyms: what stands in the place of the users' ids.
        partitions: what came later (`open_partitions`), taken in below the rows of the folder.
        Bad rows are set aside in `rejected`. Raises UserError where the data as a whole cannot be used.
        """
        from gnnrec.datasets.sources import load  # the readers build on this module

        return load(Path(path), feedback, pseudonyms, partitions)
