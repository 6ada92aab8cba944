"""The tables of a dataset with the chosen findings mended, as the copy will have them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.cleaning.contents import Contents, Owners
from gnnrec.cleaning.finding import Cell, DropRow, DropUser, Finding, Merge
from gnnrec.cleaning.log import find_repetitions
from gnnrec.datasets.clean import ID, as_id
from gnnrec.datasets.raw import LINE, ROW


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of a catalogue that stay, with their features."""

    frame: pl.DataFrame  # columns of the file
    kept: NDArray[np.bool_]  # rows of the Owners that it comes from
    features: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Repaired:
    log: pl.DataFrame
    items: Table | None
    users: Table | None
    friends: pl.DataFrame | None
    findings: list[Finding]  # those that were given, and what came up during repair


def repair(contents: Contents, findings: Sequence[Finding], kinds: Collection[str]) -> Repaired:
    """Mend the findings of `kinds`; bad rows are left out whatever is chosen, since no reading keeps them."""
    edits = [finding.edit for finding in findings if finding.kind in kinds or finding.kind == "bad-rows"]
    merged = merges([edit for edit in edits if isinstance(edit, Merge)])
    lines = {edit.line for edit in edits if isinstance(edit, DropRow)}
    users = {edit.user for edit in edits if isinstance(edit, DropUser)}
    cells = [edit for edit in edits if isinstance(edit, Cell)]
    findings = list(findings)
    renamed: dict[str, str] = {}
    if merged and contents.items is not None:
        ids = contents.items.ids
        renamed = {ids[item]: ids[into] for item, into in merged.items()}
        if "duplicate-interactions" in kinds:
            left = contents.log.filter(~among(LINE, lines, contents.log) & ~among("user", users, contents.log))
            more = list(find_repetitions(contents, left.with_columns(pl.col("item").replace(renamed))))
            findings += [replace(finding, reason=f"{finding.reason}, once items are merged") for finding in more]
            lines |= {finding.edit.line for finding in more if isinstance(finding.edit, DropRow)}
    return Repaired(
        log=mend_log(contents, lines, users, renamed),
        items=mend_table(contents.items, cells, {ids[item] for item in merged} if merged else set()),
        users=mend_table(contents.users, cells, users),
        friends=mend_friends(contents, users),
        findings=findings,
    )


def merges(edits: Sequence[Merge]) -> dict[int, int]:
    """Each item and the one that it becomes in the end; of several for an item the first counts."""
    into: dict[int, int] = {}
    for edit in edits:
        into.setdefault(edit.item, edit.into)
    for item in sorted(into):  # every item becomes an earlier one, whose own end is known by then
        into[item] = into.get(into[item], into[item])
    return into


def among(column: str, values: Collection[int] | Collection[str], frame: pl.DataFrame) -> pl.Expr:
    return pl.col(column).is_in(pl.Series(list(values), dtype=frame.schema[column]).implode())


def mend_log(contents: Contents, lines: set[int], users: set[str], renamed: Mapping[str, str]) -> pl.DataFrame:
    table = contents.raw.log.table
    frame = table.frame.filter(~among(LINE, lines, table.frame))
    if users:
        named = as_id(table, contents.raw.log.user)
        frame = frame.filter(named.is_in(sorted(users)).fill_null(False).not_())
    if renamed:
        item = contents.raw.log.item
        frame = frame.with_columns(as_id(table, item).replace(renamed).alias(item))
    return frame.drop(LINE, ROW, strict=False)


def mend_table(owners: Owners | None, cells: Sequence[Cell], dropped: Collection[str]) -> Table | None:
    if owners is None:
        return None
    frame = owners.frame
    own = [cell for cell in cells if cell.owner == owners.name]
    for column in dict.fromkeys(cell.column for cell in own):
        values = owners.cells(column)
        for cell in own:
            if cell.column == column:
                values[cell.row] = cell.rewrite(values[cell.row])
        frame = frame.with_columns(pl.Series(column, [value or None for value in values], dtype=pl.String))
    kept = ~frame[ID].is_in(list(dropped)).to_numpy()
    features = {modality: values[kept] for modality, values in owners.features.items()}
    return Table(frame.filter(pl.Series(kept)).drop(ID, LINE, ROW, strict=False), kept, features)


def mend_friends(contents: Contents, users: set[str]) -> pl.DataFrame | None:
    table = contents.raw.friends
    if table is None:
        return None
    frame = table.frame
    for name in table.columns[:2]:
        frame = frame.filter(
            pl.col(name).cast(pl.String).str.strip_chars().is_in(sorted(users)).fill_null(False).not_()
        )
    return frame.drop(LINE, ROW, strict=False)
