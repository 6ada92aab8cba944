"""Tables from a database: sqlite:///file below the folder of the dataset, or postgresql://…

Secrets come from the environment: leave the password out of the uri and set PGPASSWORD, or use ~/.pgpass.
A dataset.toml may be a stranger's: a server that it names is connected to only where the environment names it too.
"""

import os
import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets.paths import file_inside
from gnnrec.datasets.raw import RawTable
from gnnrec.datasets.sources.columnar import numbered, one_line
from gnnrec.errors import UserError, missing_extra
from gnnrec.progress import progress
from gnnrec.untrusted import check_claim

CHUNK = 50_000  # rows fetched at a time
SQLITE = "sqlite:///"
READING = {  # what a query of a stranger may do: not ATTACH or VACUUM INTO, which write files anywhere, nor end never
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
}
POSTGRESQL = ("postgresql", "postgres")
ALLOWED = "GNNREC_DATABASE"  # environment variable: the servers that may be asked, parted by semicolons
SECRET = ("user", "password", "sslpassword")  # parameters that do not say which server it is


def read_query(folder: Path, uri: str, query: str, where: str) -> RawTable:
    """The answer to `query` with all values as strings; nothing is ever written to the database.

    Raises UserError, also where ALLOWED does not name the server.
    """
    if uri.startswith(SQLITE):
        return read_sqlite(file_inside(folder, uri.removeprefix(SQLITE), f"{where} uri"), query, where)
    if uri.partition("://")[0] in POSTGRESQL:
        return read_postgresql(uri, query, where)
    raise UserError(f"{where} uri: {public(uri)!r}; allowed: sqlite:///file.db and postgresql://user@host/database")


def read_sqlite(path: Path, query: str, where: str) -> RawTable:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.set_authorizer(
                lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY
            )
            cursor = connection.execute(query)
            return collect(cursor.description, believable(cursor, path), f"{path.name}: query", where)
    except (sqlite3.Error, ValueError) as error:
        denied = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_AUTH
        hint = "; allowed: SELECT from this file, without recursion" if denied else ""
        raise UserError(f"{where}: {path.name}: {one_line(error)}{hint}") from error


def believable(cursor: sqlite3.Cursor, path: Path) -> Iterator[list[Any]]:
    """The rows in parts. Raises ValueError where they are more than any file of this size holds: a join of all with all
    would fill the memory."""
    size, num_rows = path.stat().st_size, 0
    while part := cursor.fetchmany(CHUNK):
        check_claim(num_rows := num_rows + len(part), size)
        yield part


def read_postgresql(uri: str, query: str, where: str) -> RawTable:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ImportError as error:
        raise UserError(f"{where} uri: {missing_extra('sql', 'psycopg')}") from error
    try:
        # By the parser of the library that connects: what another makes of a tricky uri may be another server.
        told: dict[str, Any] = conninfo_to_dict(uri)
    except psycopg.Error as error:
        raise UserError(f"{where} uri: not the address of a server; as in postgresql://user@host/database") from error
    server = make_conninfo(**{name: value for name, value in told.items() if name not in SECRET})
    if server not in os.environ.get(ALLOWED, "").split(";"):
        leave = f"{ALLOWED}={shlex.quote(server)}"
        raise UserError(f"{where} uri: names a server, and servers are asked only with your leave: set {leave}")
    try:
        with psycopg.connect(uri, connect_timeout=10) as connection:
            connection.read_only = True
            with connection.cursor(name="gnnrec") as cursor:  # a named cursor stays on the server: rows come in parts
                cursor.execute(query.encode())
                parts = iter(lambda: cursor.fetchmany(CHUNK), [])
                return collect(cursor.description, parts, f"{public(uri)}: query", where)
    except psycopg.Error as error:
        raise UserError(f"{where}: {public(uri)}: {one_line(error)}") from error


def collect(
    description: Sequence[Any] | None, parts: Iterable[Sequence[Sequence[Any]]], file: str, where: str
) -> RawTable:
    if description is None:
        raise UserError(f"{where} query: gives no rows; a SELECT is needed")
    schema = {str(column[0]): pl.String for column in description}
    if len(schema) < len(description):
        raise UserError(f"{where} query: two columns have the same name; name them with AS")
    frames = [pl.DataFrame(schema=schema)]
    with progress(text=file, unit="row") as bar:
        for part in parts:
            frames.append(pl.DataFrame([[text(value) for value in row] for row in part], schema, orient="row"))
            bar.update(len(part))
    return numbered(pl.concat(frames), file)


def text(value: Any) -> str | None:
    """As it would stand in a CSV file; moments as unix seconds, those without a time zone taken as UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, datetime):
        return str((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())
    return None if value is None or value == "" else str(value)


def public(uri: str) -> str:
    """The uri without user, password and parameters."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
