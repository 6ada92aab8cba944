"""k-anonymity of users (Sweeney 2002): a user is rare where fewer than k users have the values that she has.

Looked at are columns of the users' table, the quasi-identifiers, which others may know of a person; an empty field is a
value like any other. It says nothing of what users took: a few of these single a person out in any log (Narayanan and
Shmatikov 2008), and a vector or a list made of them may as well. Nor does it help where all of a group share a secret.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.run_checks import ID
from gnnrec.run_folder import Run
from gnnrec.vault import read_bytes

NOT_COVERED = (
    "not covered: what users took, and the vectors and lists made of it, which single most of them out",
    "not covered: traits that all of a group share, and what others know that stands in none of these columns",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What stands in the columns of those users that a folder has. Letter: n users."""

    k: int
    columns: tuple[str, ...]
    users: int
    rare: int  # users whose combination of values fewer than k of them have
    unique: int  # users who alone have theirs
    smallest: int  # users who share the rarest combination: the k that the table has; 0 without users
    one_of_a_kind: dict[str, int]  # column -> users who alone have their value in it

    def to_json(self) -> dict[str, Any]:
        names = ("k", "columns", "users", "rare", "unique", "smallest", "one_of_a_kind")
        return {name: getattr(self, name) for name in names} | {"not_covered": list(NOT_COVERED)}

    def lines(self) -> list[str]:
        found = [
            f"columns: {', '.join(self.columns) or 'none'}",
            f"{self.rare:,} of {self.users:,} users have values that fewer than {self.k} share, {self.unique:,} alone",
            f"the table is {self.smallest}-anonymous in these columns",
        ]
        return [
            *found,
            *(f"{name}: {number:,} users alone" for name, number in self.one_of_a_kind.items()),
            *NOT_COVERED,
        ]


def group_sizes(table: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    """How many rows have the values of each row. [n] Without columns nobody differs from anybody."""
    if not columns or not len(table):
        return np.full(len(table), len(table), dtype=np.int64)
    return table.select(pl.len().over(list(columns)).cast(pl.Int64)).to_series().to_numpy()


def audit(table: pl.DataFrame, columns: Sequence[str], k: int) -> Audit:
    """Raises UserError for a k below 2, which everybody has."""
    if k < 2:
        raise UserError(f"--k: found {k}; allowed: 2 or more")
    sizes = group_sizes(table, columns)
    return Audit(
        k=k,
        columns=tuple(columns),
        users=len(table),
        rare=int((sizes < k).sum()),
        unique=int((sizes == 1).sum()),
        smallest=int(sizes.min(initial=len(table))),
        one_of_a_kind={name: int((group_sizes(table, [name]) == 1).sum()) for name in columns},
    )


def users_table(run: Run, columns: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The users of a run in index order, and the columns to look at: all but ids where none is named.

    Raises UserError for a column that is not there.
    """
    table = pl.read_parquet(read_bytes(run.folder / "users.parquet"))
    ids = {name for name in table.columns if table[name].cast(pl.String).equals(table[ID])}  # the id under its own name
    own = [name for name in table.columns if name not in ids]
    for name in columns:
        if name not in own:
            raise UserError(
                f"--columns: found {name!r}; allowed: {', '.join(own) or 'none, the run has no users table'}"
            )
    return table, tuple(columns or own)


def rare_users(run: Run, columns: Sequence[str], k: int) -> NDArray[np.bool_]:
    """The users whose values fewer than k share. [U]"""
    table, chosen = users_table(run, columns)
    return group_sizes(table, chosen) < k


def audit_users(run: Run, columns: Sequence[str], k: int, names: Sequence[str] | None = None) -> Audit:
    """Of the users of a run, or of those of them that an export holds."""
    table, chosen = users_table(run, columns)
    return audit(table if names is None else table.filter(pl.col(ID).is_in(list(names))), chosen, k)


def audit_folder(folder: Path, run: Run | None, columns: Sequence[str], k: int) -> Audit:
    """Of an export, whose run is the one given or that of its export.json, or of a run itself."""
    from gnnrec.datasets.pseudonyms import Pseudonyms
    from gnnrec.export import import_embeddings
    from gnnrec.privacy.exports import read_export  # which leaves out users by this module

    if (folder / "run.json").exists():
        return audit_users(Run.load(folder), columns, k)
    told = read_export(folder)
    if told is None:
        raise UserError(f"{folder}: neither a run nor an export; allowed: what gnnrec train or gnnrec export wrote")
    config, document = told
    run = run or Run.load(document["run"])
    names = list(import_embeddings(folder, config.formats[0]).user_ids)
    if config.pseudonyms:
        pseudonyms = Pseudonyms.required()
        names = [name for name in run.user_ids if pseudonyms.of(name) in set(names)]
    return audit_users(run, columns, k, names)
