"""PostgreSQL with the extension pgvector: a table a side, both replaced in one transaction.

The user names the server at the command line, which is her leave to ask it. Secrets come from the environment: leave
the password out of the address and set PGPASSWORD, or use ~/.pgpass.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnnrec.datasets.sources.sql import public
from gnnrec.errors import UserError, missing_extra
from gnnrec.export import Vectors
from gnnrec.targets.table import BATCH, SIDES, Batch, Table, as_rows, told


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """Columns id (text, primary key), title and text of items (text), vector (vector of pgvector)."""

    connection: Any  # in autocommit, so that a transaction below is one of its own
    name: str
    where: str

    def taken(self) -> list[str]:
        with self._told():
            found = (
                self.connection.execute("SELECT to_regclass(quote_ident(%s))", (n,)).fetchone() for n in self._names
            )
            return [name for name, (known,) in zip(self._names, found) if known]

    def write(self, tables: Mapping[str, Table], stamp: str, *, exact: bool) -> list[str]:
        with self._told(), self.connection.transaction():
            self.connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            self._register()
            for side, table in tables.items():
                self._fill(f"{self.name}_{side}", f"{self.name}_{stamp}_{side}", table, exact or side == "users")
        return list(self._names)

    def read(self) -> Iterator[Batch]:
        with self._told(), self.connection.transaction():  # of repeatable read: both tables as they are now
            self._register()
            for side, name in zip(SIDES, self._names):
                with self.connection.cursor(name="gnnrec") as cursor:  # a named one stays there: rows come in parts
                    cursor.execute(self._sql("SELECT id, vector FROM {}", name))
                    for part in iter(lambda: cursor.fetchmany(BATCH), []):
                        ids, vectors = [name for name, _ in part], [numbers_of(vector) for _, vector in part]
                        yield side, ids, as_rows(f"{self.where}: {side}", ids, vectors)

    def search(self, queries: Vectors, k: int) -> list[list[str]]:
        from pgvector import Vector

        # <#> is the negative inner product, for which alone the index is used.
        asked = self._sql("SELECT id FROM {} ORDER BY vector <#> %s LIMIT %s", self._names[1])
        with self._told():
            self._register()
            found = (self.connection.execute(asked, (Vector(query), k)).fetchall() for query in queries)
            return [[name for (name,) in rows] for rows in found]

    def close(self) -> None:
        self.connection.close()

    def _told(self) -> Any:
        import psycopg

        return told(self.where, psycopg.Error)

    def _register(self) -> None:
        """The type vector, which only a database with the extension has."""
        from pgvector.psycopg import register_vector

        register_vector(self.connection)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}_{side}" for side in SIDES)

    def _sql(self, text: str, *names: str) -> Any:
        from psycopg import sql

        return sql.SQL(text).format(*map(sql.Identifier, names))

    def _fill(self, name: str, new: str, table: Table, exact: bool) -> None:
        """Readers of the old table wait only while the new one takes its name."""
        run, columns = self.connection.execute, ["id", *table.words, "vector"]
        words = "".join(", {} text" for _ in table.words)
        kind = f"vector({table.vectors.shape[1]})"
        run(self._sql(f"CREATE TABLE {{}} (id text PRIMARY KEY{words}, vector {kind})", new, *table.words))
        placed = ", ".join("{}" for _ in columns)
        copied = self._sql(f"COPY {{}} ({placed}) FROM STDIN WITH (FORMAT BINARY)", new, *columns)
        with self.connection.cursor() as cursor, cursor.copy(copied) as copy:
            copy.set_types([*("text" for _ in columns[1:]), "vector"])
            for batch in table.batches(f"writing {name}"):
                for row in zip(batch.ids, *batch.words.values(), batch.vectors):
                    copy.write_row(row)
        if not exact:
            run(self._sql("CREATE INDEX ON {} USING hnsw (vector vector_ip_ops)", new))
        run(self._sql("DROP TABLE IF EXISTS {}", name))
        run(self._sql("ALTER TABLE {} RENAME TO {}", new, name))


def numbers_of(value: Any) -> Any:
    """Of a vector or halfvec [d]; an array and NULL are what they are in Python."""
    from pgvector import HalfVector, Vector

    return value.to_numpy() if isinstance(value, Vector | HalfVector) else value


def open_postgresql(address: str, name: str) -> PostgreSQL:
    """postgresql://user@host/database. Raises UserError where nobody answers."""
    try:
        import pgvector  # noqa: F401 (missing, it shows before anybody is asked)
        import psycopg
    except ImportError as error:
        raise missing_extra("postgres", str(error.name)) from error
    where = public(address)
    with told(where, psycopg.OperationalError):
        try:
            connection = psycopg.connect(address, autocommit=True, connect_timeout=10)
        except psycopg.ProgrammingError as error:  # its own words could hold the password
            raise UserError(f"{where}: not the address of a server; as in postgresql://user@host/database") from error
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    return PostgreSQL(connection, name, where)
