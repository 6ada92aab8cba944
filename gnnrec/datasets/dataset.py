"""Dataset: a log and what is known about its items and users, checked once and frozen.

External ids are strings; internal indexes are positions in `user_ids` and `item_ids`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.interactions import Interactions

SPLIT_NAMES = ("train", "val", "test")

REJECTED_SCHEMA = {"file": pl.String, "line": pl.Int64, "reason": pl.String, "value": pl.String}


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """How a log is cut where it has no split column of its own."""

    method: str = "leave_last"  # leave_last | user_time | global_time | random
    val_share: float = 0.1  # of each user's (user_time, random) or of all (global_time) interactions
    test_share: float = 0.1
    seed: int = 0  # random only
    min_core: int = 0  # k of the k-core filter; 0 leaves the log as it is


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
    item_features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # modality -> [I, d], NaN row = missing
    user_features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    rejected: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTED_SCHEMA))
    licence: str = ""

    def __post_init__(self) -> None:
        for name, ids in (("user", self.user_ids), ("item", self.item_ids)):
            if len(set(ids)) != len(ids):
                raise ValueError(f"dataset {self.name}: {name} ids are not unique")
        if (self.interactions.num_users, self.interactions.num_items) != (len(self.user_ids), len(self.item_ids)):
            raise ValueError(f"dataset {self.name}: the log and the id lists differ in size")
        for name, catalog, ids in (("items", self.items, self.item_ids), ("users", self.users, self.user_ids)):
            if catalog is not None and len(catalog) != len(ids):
                raise ValueError(f"dataset {self.name}: [{name}] has {len(catalog)} rows for {len(ids)} ids")
