"""Items and users in Parquet whose rows other processes read, some at a time: which files, and what is in some rows.

Letters: n rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.clean import clean_catalog
from gnnrec.datasets.content import check_paths
from gnnrec.datasets.description import FILE, CatalogSection, read_description
from gnnrec.datasets.paths import file_inside
from gnnrec.datasets.raw import RawCatalog
from gnnrec.datasets.sources import folder as described
from gnnrec.datasets.sources import named
from gnnrec.datasets.sources.columnar import numbered
from gnnrec.errors import UserError
from gnnrec.untrusted import check_claim, refusing

ENDING = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedTable:
    owner: str  # items | users
    root: Path  # of the dataset
    file: str  # below it
    id: str
    text: tuple[str, ...]
    media: Mapping[str, str]  # "image", "audio" -> column of paths
    given: frozenset[str]  # modalities whose features are made elsewhere
    num_rows: int

    @property
    def path(self) -> Path:
        return self.root / self.file

    def modalities(self) -> tuple[str, ...]:
        """What there is to encode."""
        own = (("text",) if self.text else ()) + tuple(self.media)
        return tuple(modality for modality in own if modality not in self.given)

    def columns(self, modality: str) -> list[str]:
        """What has to be read of the file."""
        return list(dict.fromkeys([self.id, *(self.text if modality == "text" else (self.media[modality],))]))

    def contents(self, rows: pl.DataFrame, modality: str) -> tuple[Sequence[Any], pl.DataFrame]:
        """Texts or paths of some rows, as of a dataset that is read whole, but that an id counts as there already in
        the same rows alone. [n or fewer] And the paths that lead nowhere, in the shape of Dataset.rejected."""
        raw = self._raw(rows, modality)
        frame, _ = clean_catalog(raw, self.owner)
        if modality == "text":
            return Catalog(table=frame, text_columns=self.text).text(), pl.DataFrame()
        return check_paths(frame, self.media[modality], self.root, self.file)

    def check(self, schema: Mapping[str, pl.DataType]) -> None:
        """Raises UserError for a column that is not there or holds something else, and where there is no row."""
        for modality in self.modalities():
            raw = self._raw(pl.DataFrame(schema=schema), modality)
            clean_catalog(replace(raw, table=replace(raw.table, num_records=self.num_rows)), self.owner)

    def _raw(self, rows: pl.DataFrame, modality: str) -> RawCatalog:
        table = numbered(rows, self.file)
        if modality == "text":
            return RawCatalog(table=table, id=self.id, text=self.text)
        return RawCatalog(table=table, id=self.id, media={modality: self.media[modality]})


def streamed_tables(folder: Path, columns: Sequence[str] = ()) -> list[StreamedTable]:
    """The items and users of a folder with dataset.toml. columns: the items' text, where it is not what is said there.

    Raises UserError for what is no Parquet file and for columns that are not as they have to be.
    """
    if not described.found(folder):
        raise UserError(f"{folder}: no {FILE} in it, which has to name {ENDING} files for encode --stream")
    with named(folder):
        told = read_description(folder)
        tables = [
            _table(folder.resolve(), owner, section, frozenset(given), columns if owner == "items" else ())
            for owner, section, given in (
                ("items", told.items, told.item_features),
                ("users", told.users, told.user_features),
            )
            if section is not None and (section.path is not None or section.uri is not None)
        ]
    return [table for table in tables if table.modalities()]


def _table(
    root: Path, owner: str, section: CatalogSection, given: frozenset[str], columns: Sequence[str]
) -> StreamedTable:
    where = f"{FILE}: [{owner}] path"
    if section.path is None or not section.path.lower().endswith(ENDING):
        raise UserError(f"{where}: found {section.path or section.uri!r}; allowed for encode --stream: {ENDING} files")
    path = file_inside(root, section.path, where)
    with refusing(section.path, "not a whole Parquet file"):
        schema = pl.read_parquet_schema(path)
        num_rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        check_claim(num_rows, path.stat().st_size)
    media = {"image": section.image, "audio": section.audio}
    table = StreamedTable(
        owner=owner,
        root=root,
        file=section.path,
        id=section.id or owner.removesuffix("s"),
        text=tuple(columns) or section.text,
        media={modality: column for modality, column in media.items() if column},
        given=given,
        num_rows=num_rows,
    )
    for name in columns:
        if name not in schema:
            raise UserError(f"encoders.columns: found {name!r}; allowed: {', '.join(schema)}")
    table.check(schema)
    return table
