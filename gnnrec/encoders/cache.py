"""Features on disk by content: what was encoded once is never encoded again. One SQLite file for each encoder.

Content that could not be read is not kept: another version of a decoder may read it.

Letters: d dimensions.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.sqlite_file import SqliteFile

Row = NDArray[np.float32]  # [d]
QUERY_SIZE = 500  # keys in one query; SQLite allows 999 in its oldest builds


def cache_file(folder: Path, encoder: str) -> Path:
    """Where the features of an encoder of this name are."""
    short = re.sub(r"[^\w.-]+", "_", encoder)[-80:]
    digest = hashlib.sha256(encoder.encode()).hexdigest()[:8]  # names that differ only in what was replaced
    return folder / f"{short}-{digest}.sqlite"


class FeatureCache(SqliteFile):
    """`encoder` is its name with the revision and whatever else decides the numbers. Use as a context manager."""

    def __init__(self, folder: Path, encoder: str, dim: int) -> None:
        super().__init__(cache_file(folder, encoder), "features (content TEXT PRIMARY KEY, value BLOB)", "features")
        self.dim = dim

    def fetch(self, contents: Iterable[str]) -> Iterator[tuple[str, Row]]:
        """What is known of these content hashes, row by row, in any order."""
        keys = list(contents)
        with self.using():
            for start in range(0, len(keys), QUERY_SIZE):
                part = keys[start : start + QUERY_SIZE]
                marks = ",".join("?" * len(part))
                query = f"SELECT content, value FROM features WHERE length(value) = ? AND content IN ({marks})"
                for content, value in self.connection.execute(query, (4 * self.dim, *part)):
                    yield content, np.frombuffer(value, dtype="<f4")

    def store(self, rows: Mapping[str, Row]) -> None:
        """All rows or none, whatever happens meanwhile."""
        values = [(content, row.astype("<f4").tobytes()) for content, row in rows.items()]
        with self.using(), self.connection:
            self.connection.executemany("INSERT OR REPLACE INTO features (content, value) VALUES (?, ?)", values)
