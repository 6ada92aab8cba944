"""What a target keeps: users and items, each a table of ids, vectors and words, written and read in batches.

Letters: n rows (users or items), d dimensions, B rows of a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gnnrec.errors import UserError, first_line
from gnnrec.export import Vectors
from gnnrec.progress import progress

SIDES = ("users", "items")
BATCH = 1_000  # rows on their way at a time, fewer where they are long
NUMBERS = 2**18  # of one batch: 5 MB as JSON, where Qdrant takes 32

Batch = tuple[str, Sequence[str], Vectors]
"""One of SIDES, ids [B], vectors [B, d]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Row r holds the id, the vector and the words (title, text; None where there are none) of one user or item."""

    ids: Sequence[str]  # [n]
    vectors: Vectors  # [n, d]
    words: Mapping[str, Sequence[str | None]] = field(default_factory=dict)  # column -> [n]

    def batches(self, text: str) -> Iterator["Table"]:
        """The rows in order, some at a time; `text` stands before the progress bar."""
        size = max(1, min(BATCH, NUMBERS // self.vectors.shape[1]))
        with progress(total=len(self.ids), text=text, unit="row") as bar:
            for start in range(0, len(self.ids), size):
                rows = slice(start, start + size)
                words = {name: column[rows] for name, column in self.words.items()}
                yield Table(ids=self.ids[rows], vectors=self.vectors[rows], words=words)
                bar.update(len(self.ids[rows]))


class Target(Protocol):
    """A place where embeddings live. All methods raise UserError for what the place refuses."""

    @property
    def where(self) -> str:
        """As messages name it: without user, password and parameters."""

    def taken(self) -> list[str]:
        """The names of tables that `write` would replace."""

    def write(self, tables: Mapping[str, Table], stamp: str, *, exact: bool) -> list[str]:
        """Write a table for each of SIDES and return their names; until both are complete, readers see the old ones.

        stamp: says which tables are of one export. exact: items are searched one by one, without an index.
        """

    def read(self) -> Iterator[Batch]:
        """Both tables, in batches."""

    def search(self, queries: Vectors, k: int) -> list[list[str]]:
        """The ids of the k items with the highest inner products, best first, for each query [n, d], one by one."""

    def close(self) -> None: ...


@contextmanager
def told(where: str, *kinds: type[Exception]) -> Iterator[None]:
    """What a library raises, as one line that says where."""
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(f"{where}: {first_line(error)}") from error


def same_stamp(where: str, stamps: Sequence[str | bytes | None]) -> None:
    """Raise UserError where users and items are of different exports."""
    if len(set(stamps)) > 1:
        raise UserError(f"{where}: users and items are of different exports; gnnrec export --replace writes both")


def as_rows(where: str, ids: Sequence[str | None], vectors: Sequence[Sequence[float] | Vectors | None]) -> Vectors:
    """What others may have written, too. [B, d]

    Raises UserError for a row without id or vector, and for vectors of several lengths.
    """
    lengths: dict[int, str] = {}
    for name, vector in zip(ids, vectors):
        if name is None or vector is None:
            raise UserError(f"{where}: a row without an id" if name is None else f"{where}: {name!r} has no vector")
        lengths.setdefault(len(vector), name)
    same_length(where, lengths)
    return np.asarray(vectors, dtype=np.float32)


def same_length(where: str, lengths: Mapping[int, str]) -> None:
    """lengths: of vectors -> whose one of them is. Raises UserError where there are several."""
    if len(lengths) > 1:
        found = " and ".join(f"{length} ({name!r})" for length, name in list(lengths.items())[:2])
        raise UserError(f"{where}: vectors of {found} dimensions; expected one length")
