"""A dataset as its files have it, row by row: typed as on loading, but in their order and with their lines.

A Dataset would not do: it has no lines of the log and none of the rows below min_rating, which a copy has to keep.
Letters: I rows of a catalogue, d dimensions of a feature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.clean import ID, clean_catalog, clean_log, rejections
from gnnrec.datasets.content import PATH_PROBLEMS, attach
from gnnrec.datasets.dataset import REJECTED_SCHEMA
from gnnrec.datasets.raw import RawCatalog, RawDataset
from gnnrec.datasets.sources import named, read_raw
from gnnrec.datasets.sources.partitions import Partitions, with_partitions


@dataclass(frozen=True, slots=True)
class Owners:
    """The items or the users of a catalogue; row r of everything is the same one."""

    name: str  # items, users
    root: Path  # of the dataset, resolved
    raw: RawCatalog
    frame: pl.DataFrame  # [I] columns of the file with ID, LINE and ROW
    catalog: Catalog
    features: Mapping[str, NDArray[np.float32]]  # modality -> [I, d], NaN where the content is missing

    @property
    def ids(self) -> list[str]:
        return self.frame[ID].to_list()

    @property
    def lines(self) -> Sequence[int | None]:
        return self.catalog.lines

    def cells(self, column: str) -> list[str]:
        """A column as stripped text, empty where there is nothing. [I]"""
        return self.frame[column].cast(pl.String).fill_null("").str.strip_chars().to_list()


@dataclass(frozen=True, slots=True)
class Contents:
    raw: RawDataset
    log: pl.DataFrame  # user, item (String); timestamp, rating, split as far as there are; LINE
    rejected: pl.DataFrame  # in REJECTED_SCHEMA, without paths, which cleaning.media looks at
    items: Owners | None
    users: Owners | None

    def owners(self) -> list[Owners]:
        return [owners for owners in (self.items, self.users) if owners is not None]


def read_contents(folder: Path, partitions: Sequence[Partitions] = ()) -> Contents:
    """Read a folder of any kind that Dataset.load knows, with what came later. Raises UserError as that does."""
    raw = read_raw(folder)
    for part in partitions:
        raw = with_partitions(raw, part)
    with named(folder):
        log, rejected, _ = clean_log(replace(raw.log, min_rating=None))
        items, more = read_owners(raw.items, "items", raw.root, raw.item_features)
        users, others = read_owners(raw.users, "users", raw.root, raw.user_features)
        rejected += more + others
        if raw.friends is not None:
            rejected.append(raw.friends.rejected)
        if items is not None:
            known = pl.col("item").is_in(items.frame[ID].implode())
            unknown = log.filter(known.not_())
            rejected.append(rejections(unknown, raw.log.table.file, "item id is not in the items file", "item"))
            log = log.filter(known)
    return Contents(raw, log, pl.concat([part.cast(REJECTED_SCHEMA) for part in rejected]), items, users)


def read_owners(
    raw: RawCatalog | None, name: str, root: Path, features: Mapping[str, tuple[Path, ...]]
) -> tuple[Owners | None, list[pl.DataFrame]]:
    if raw is None:
        return None, []
    frame, rejected = clean_catalog(raw, name)
    catalog, values, more = attach(raw, frame, frame[ID].to_list(), root, features)
    assert catalog is not None
    rejected += [part.filter(pl.col("reason").is_in(PATH_PROBLEMS).not_()) for part in more]
    return Owners(name, root.resolve(), raw, frame, catalog, values), rejected
