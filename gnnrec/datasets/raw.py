"""What a reader found on disk, before anything is checked: tables of strings with the place of every row."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from gnnrec.datasets.dataset import REJECTED_SCHEMA, SplitConfig
from gnnrec.errors import UserError

LINE = "__line__"  # hidden column: where the row starts; a line of a text file, else the number of the row from 1
ROW = "__row__"  # hidden column: number of the record from 0, by which rows of feature files are found


def no_rejections() -> pl.DataFrame:
    return pl.DataFrame(schema=REJECTED_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawTable:
    file: str  # as messages name it: relative to the folder of the dataset
    frame: pl.DataFrame  # columns as in the file, most often strings, and LINE and ROW
    num_records: int  # of the file, with those that could not be read
    rejected: pl.DataFrame = field(default_factory=no_rejections)

    @property
    def columns(self) -> list[str]:
        return [name for name in self.frame.columns if name not in (LINE, ROW)]

    def require(self, names: Mapping[str, str | None]) -> None:
        """Raise UserError when a column is missing. `names`: the key that asks for it -> the name of the column."""
        for key, name in names.items():
            if name is not None and name not in self.columns:
                raise UserError(f"{self.file}: no column {name!r} ({key}); it has: {', '.join(self.columns)}")
        if self.num_records == 0:
            raise UserError(f"{self.file}: there is no row in it, only a header")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLog:
    """The interaction log and which of its columns mean what."""

    table: RawTable
    user: str
    item: str
    timestamp: str | None = None
    rating: str | None = None
    split: str | None = None
    min_rating: float | None = None
    retention_days: float | None = None

    def part(self, rows: slice) -> "RawLog":
        """Some of its rows; what could not be read goes with the first ones."""
        table = self.table
        left = table.rejected if rows.start == 0 else no_rejections()
        return replace(self, table=replace(table, frame=table.frame[rows], rejected=left))

    def without_rows(self) -> "RawLog":
        return replace(self, table=replace(self.table, frame=self.table.frame.clear()))


@dataclass(frozen=True, slots=True, kw_only=True)
class RawCatalog:
    """One row an item (or user), its text columns and its columns of paths."""

    table: RawTable
    id: str
    text: tuple[str, ...] = ()
    media: Mapping[str, str] = field(default_factory=dict)  # "image", "audio" -> column of paths


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDataset:
    name: str
    root: Path
    log: RawLog
    items: RawCatalog | None = None
    users: RawCatalog | None = None
    friends: RawTable | None = None  # its first two columns are the pair
    item_features: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)  # modality -> .npy, one below another
    user_features: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    split: SplitConfig | None = None
    licence: str = ""
