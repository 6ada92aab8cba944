"""Partitions: interactions, items and users that came after a dataset was read, as Parquet files in one folder.

    interactions*.parquet    further rows of the log, with the dataset's own column names
    items*.parquet           new items; an id that is known already is set aside, as it is within one file
    users*.parquet           new users, where the dataset has a file of users

Paths of pictures and sounds stay relative to the dataset's folder. Features made elsewhere lie beside their rows: row r
of items-2.image.npy belongs to row r of items-2.parquet. In a log with a published split, rows without one are train.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from gnnrec.datasets.feedback import TRAIN
from gnnrec.datasets.raw import LINE, ROW, RawCatalog, RawDataset, RawLog, RawTable
from gnnrec.datasets.sources.columnar import read_parquet
from gnnrec.errors import UserError, count
from gnnrec.untrusted import map_npy

KINDS = ("interactions", "items", "users")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """Files by name: those that are there stay what they are, however many come later."""

    folder: Path
    files: tuple[str, ...]


def open_partitions(folder: Path, known: Sequence[Partitions] = ()) -> Partitions:
    """All in the folder that is not among `known`. Raises UserError where that is nothing."""
    folder = folder.resolve()
    before = {name for one in known if one.folder == folder for name in one.files}
    found = sorted(path.name for kind in KINDS for path in folder.glob(f"{kind}*.parquet"))
    new = tuple(name for name in found if name not in before)
    if not new:
        had = f"; {count(len(before), 'file')} of it known already" if before else ""
        expected = ", ".join(f"{kind}*.parquet" for kind in KINDS)
        raise UserError(f"{folder}: nothing new in it{had}; expected some of {expected}")
    return Partitions(folder=folder, files=new)


def with_partitions(raw: RawDataset, partitions: Partitions) -> RawDataset:
    """The dataset with the rows of the partitions below its own. Raises UserError for what does not fit."""
    items, users = raw.items, raw.users
    item_features, user_features = raw.item_features, raw.user_features
    log = raw.log
    for name in partitions.files:
        path = partitions.folder / name
        table = read_parquet(path, str(path))
        if name.startswith("interactions"):
            log = _with_rows(log, table)
        elif name.startswith("items"):
            items, item_features = _with_owners(items, item_features, table, path, "items")
        else:
            users, user_features = _with_owners(users, user_features, table, path, "users")
    return replace(raw, log=log, items=items, users=users, item_features=item_features, user_features=user_features)


def _with_rows(log: RawLog, table: RawTable) -> RawLog:
    table.require(
        {"[interactions] user": log.user, "[interactions] item": log.item, "[interactions] timestamp": log.timestamp}
        | {"[interactions] rating": log.rating}
    )
    frame = table.frame
    if log.split is not None and log.split not in frame.columns:
        word = "train" if log.table.frame.schema[log.split] == pl.String else TRAIN
        frame = frame.with_columns(pl.lit(word).alias(log.split))
    return replace(log, table=_below(log.table, replace(table, frame=frame)))


def _with_owners(
    catalog: RawCatalog | None, features: Mapping[str, tuple[Path, ...]], table: RawTable, path: Path, where: str
) -> tuple[RawCatalog, Mapping[str, tuple[Path, ...]]]:
    if catalog is None:
        raise UserError(f"{path}: the dataset has no [{where}], so that nothing says which of its columns mean what")
    table.require({f"[{where}] id": catalog.id})
    return (
        replace(catalog, table=_below(catalog.table, table)),
        {name: (*files, _features(path, name, table)) for name, files in features.items()},
    )


def _features(path: Path, modality: str, table: RawTable) -> Path:
    beside = path.with_suffix(f".{modality}.npy")
    if not beside.is_file():
        raise UserError(
            f"{beside}: no such file; features of {modality} are made elsewhere, so each partition has its own"
        )
    found = map_npy(beside, str(beside))
    if len(found) != table.num_records:
        raise UserError(f"{beside}: {count(len(found), 'row')}, but {path.name} has {table.num_records}")
    return beside


def _below(first: RawTable, second: RawTable) -> RawTable:
    """Both tables as one in the columns of the first; messages tell rows of the second by numbers that go on."""
    columns = []
    for name, kind in first.frame.schema.items():
        if name in (ROW, LINE):
            columns.append((second.frame[name] + first.num_records).cast(kind))
        elif name not in second.frame.columns:
            columns.append(pl.Series(name, [None] * len(second.frame), dtype=kind))
        else:
            columns.append(_like(second.frame[name], kind))
    frame = pl.concat([first.frame, pl.DataFrame(columns)], how="vertical_relaxed")
    return replace(first, frame=frame, num_records=first.num_records + second.num_records)


def _like(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """Text stays as it is written; seconds become moments where the log holds moments, and the other way round."""
    if kind == pl.String and column.dtype.is_temporal():
        return column.dt.epoch("s").cast(pl.String)
    if kind.is_temporal() and column.dtype.is_numeric():
        return pl.from_epoch(column, "s").cast(kind)
    return column.cast(kind) if kind == pl.String or kind.is_temporal() else column
