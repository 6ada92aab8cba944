"""Tables from a database: sqlite:///file below the folder of the dataset, or postgresql://…

Secrets come from the environment: leave the password out of the uri and set PGPASSWORD, or use ~/.pgpass.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from gnnrec.datasets.paths import file_inside
from gnnrec.datasets.raw import RawTable
from gnnrec.datasets.sources.columnar import numbered, one_line
from gnnrec.errors import UserError, missing_extra

CHUNK = 50_000  # rows fetched at a time
SQLITE = "sqlite:///"
POSTGRESQL = ("postgresql", "postgres")


def read_query(folder: Path, uri: str, query: str, where: str) -> RawTable:
    """The answer to `query` with all values as strings; nothing is ever written to the database. Raises UserError."""
    if uri.startswith(SQLITE):
        return read_sqlite(file_inside(folder, uri.removeprefix(SQLITE), f"{where} uri"), query, where)
    if urlsplit(uri).scheme in POSTGRESQL:
        return read_postgresql(uri, query, where)
    raise UserError(f"{where} uri: {public(uri)!r}; allowed: sqlite:///file.db and postgresql://user@host/database")


def read_sqlite(path: Path, query: str, where: str) -> RawTable:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            cursor = connection.execute(query)
            return collect(cursor.description, iter(lambda: cursor.fetchmany(CHUNK), []), f"{path.name}: query")
    except sqlite3.Error as error:
        raise UserError(f"{where}: {path.name}: {one_line(error)}") from error


def read_postgresql(uri: str, query: str, where: str) -> RawTable:
    try:
        import psycopg
    except ImportError as error:
        raise missing_extra("sql", "psycopg") from error
    try:
        with psycopg.connect(uri, connect_timeout=10) as connection:
            connection.read_only = True
            with connection.cursor(name="gnnrec") as cursor:  # a named cursor stays on the server: rows come in parts
                cursor.execute(query.encode())
                return collect(cursor.description, iter(lambda: cursor.fetchmany(CHUNK), []), f"{public(uri)}: query")
    except psycopg.Error as error:
        raise UserError(f"{where}: {public(uri)}: {one_line(error)}") from error


def collect(description: Sequence[Any] | None, parts: Iterable[Sequence[Sequence[Any]]], file: str) -> RawTable:
    if description is None:
        raise UserError(f"{file}: gives no rows; a SELECT is needed")
    schema = {str(column[0]): pl.String for column in description}
    if len(schema) < len(description):
        raise UserError(f"{file}: two columns have the same name; name them with AS")
    frames = [pl.DataFrame(schema=schema)]
    frames += [pl.DataFrame([[text(value) for value in row] for row in part], schema, orient="row") for part in parts]
    return numbered(pl.concat(frames), file)


def text(value: Any) -> str | None:
    """As it would stand in a CSV file; moments as unix seconds, those without a time zone taken as UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return str((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return None if value is None or value == "" else str(value)


def public(uri: str) -> str:
    """The uri without user and password."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
