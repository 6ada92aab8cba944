"""A cache in one SQLite file: several processes may read it while one writes; it may be deleted at any time."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from gnnrec.errors import UserError


class SqliteFile:
    """`table`: as SQL creates it. `what`: is kept, as errors call it. Use as a context manager, and the connection
    within `using`, which tells in one line what is wrong with the file."""

    def __init__(self, path: Path, table: str, what: str) -> None:
        self.path, self._what = path, what
        with self.using():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = sqlite3.connect(path, timeout=60)
            self.connection.execute("PRAGMA journal_mode=WAL")  # readers and one writer at the same time
            self.connection.execute("PRAGMA synchronous=NORMAL")
            self.connection.execute(f"CREATE TABLE IF NOT EXISTS {table} WITHOUT ROWID")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @contextmanager
    def using(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"{self.path}: the cache of {self._what} cannot be used ({error}); it may be deleted"
            ) from error
