"""LanceDB: a folder of columnar tables, one a side; a table that is written anew is a new version of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError, missing_extra
from gnnrec.export import Vectors
from gnnrec.targets.table import BATCH, SIDES, Batch, Table, as_rows, same_stamp, told

STAMP = b"gnnrec"  # key in the metadata of a table
ERRORS = (RuntimeError, ValueError, OSError)  # what LanceDB raises


@dataclass(frozen=True, slots=True)
class LanceDB:
    """Columns id (string), title and text of items (string) and vector (fixed-size list of float32).

    The rows of a table appear as a whole, but users before items: in between, `read` finds two stamps and says so.
    """

    folder: Path
    name: str

    @property
    def where(self) -> str:
        return f"lancedb:{self.folder}"

    def taken(self) -> list[str]:
        with told(self.where, *ERRORS):
            found = {side: table for side in SIDES if (table := self._table(side)) is not None}
        stopped = list(found) == ["users"] and _stamp(found["users"]) is not None  # an export before its items
        return [] if stopped else [self._named(side) for side in found]

    def write(self, tables: Mapping[str, Table], stamp: str, *, exact: bool) -> list[str]:
        with told(self.where, *ERRORS):
            for side, table in tables.items():
                mode = "create" if self._table(side) is None else "overwrite"
                written = self._database().create_table(self._named(side), self._stream(side, table, stamp), mode=mode)
                if side == "items" and not exact:
                    _index(written)
                written.optimize()  # drops what older versions than a week ago held alone
        return [self._named(side) for side in tables]

    def read(self) -> Iterator[Batch]:
        with told(self.where, *ERRORS):
            tables = {side: self._existing(side) for side in SIDES}
            same_stamp(self.where, [_stamp(table) for table in tables.values()])
            for side, table in tables.items():
                for batch in table.search().select(["id", "vector"]).to_batches(BATCH):
                    ids = batch["id"].to_pylist()
                    yield side, ids, _vectors(f"{self.where}: {side}", ids, batch["vector"])

    def search(self, queries: Vectors, k: int) -> list[list[str]]:
        with told(self.where, *ERRORS):
            table, found = self._existing("items"), []
            for query in queries:
                asked = table.search(query, vector_column_name="vector").distance_type("dot").limit(k)
                found.append(asked.select(["id", "_distance"]).to_arrow()["id"].to_pylist())
            return found

    def close(self) -> None:
        pass

    def _named(self, side: str) -> str:
        return f"{self.name}_{side}"

    def _database(self) -> Any:
        try:
            import lancedb
        except ImportError as error:
            raise missing_extra("lancedb", "lancedb") from error
        return lancedb.connect(str(self.folder.absolute()))  # absolute, so that no name is taken for an address

    def _table(self, side: str) -> Any:
        """None where there is none; what a stopped export left is none."""
        if not (self.folder / f"{self._named(side)}.lance").is_dir():
            return None
        try:
            return self._database().open_table(self._named(side))
        except ValueError:
            return None

    def _existing(self, side: str) -> Any:
        if (table := self._table(side)) is None:
            raise UserError(f"{self.where}: no table {self._named(side)}; gnnrec export writes it, --name names it")
        return table

    def _stream(self, side: str, table: Table, stamp: str) -> Any:
        """An Arrow reader that makes its batches as they are asked for."""
        import pyarrow as pa

        words = [pa.field(name, pa.string()) for name in table.words]
        vector = pa.field("vector", pa.list_(pa.float32(), table.vectors.shape[1]))
        schema = pa.schema([pa.field("id", pa.string()), *words, vector], metadata={STAMP: stamp})

        def batches() -> Iterator[Any]:
            for batch in table.batches(f"writing {self._named(side)}"):
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(batch.vectors.ravel()), type=vector.type)
                columns = [pa.array(column, pa.string()) for column in (batch.ids, *batch.words.values())]
                yield pa.record_batch([*columns, vectors], schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())


def _vectors(where: str, ids: list[str | None], column: Any) -> Vectors:
    """Of an Arrow array of lists of one size. [B, d]"""
    if column.null_count or None in ids:
        return as_rows(where, ids, column.to_pylist())
    flat: Vectors = column.flatten().to_numpy()
    return flat.reshape(len(column), column.type.list_size)


def _stamp(table: Any) -> bytes | None:
    """None where gnnrec did not write it."""
    stamp: bytes | None = (table.schema.metadata or {}).get(STAMP)
    return stamp


def _index(table: Any) -> None:
    """HNSW over 8-bit codes of the vectors."""
    from lancedb.index import HnswSq

    table.create_index("vector", config=HnswSq(distance_type="dot"))


def open_lancedb(address: str, name: str) -> LanceDB:
    """lancedb:FOLDER."""
    folder = address.partition(":")[2]
    if not folder or "://" in folder:
        raise UserError(f"{address!r}: no folder; allowed: lancedb:FOLDER")
    return LanceDB(Path(folder), name)
