"""One user out of a dataset folder: into a copy, or in place where that is said."""

import csv
import gzip
import io
from collections.abc import Collection, Sequence
from pathlib import Path

import polars as pl

from gnnrec.cleaning.contents import read_contents
from gnnrec.cleaning.finding import DropUser, Finding
from gnnrec.cleaning.folder import check_free, read_back, write_copy
from gnnrec.cleaning.repair import repair
from gnnrec.datasets.clean import ID, as_id
from gnnrec.datasets.description import FILE, read_description
from gnnrec.datasets.raw import RawTable
from gnnrec.datasets.sources import named, read_raw
from gnnrec.datasets.sources.columnar import read_parquet
from gnnrec.datasets.sources.delimited import read_bytes
from gnnrec.datasets.sources.partitions import Partitions, open_partitions, with_partitions
from gnnrec.errors import UserError
from gnnrec.files import atomic_path, new_folder

KIND = "forgotten"  # of the finding by which a copy leaves somebody out
BOM = "\ufeff"


def all_files(partitions: Sequence[Partitions]) -> tuple[Partitions, ...]:
    """Those that a run has read with all that came into their folders since. Raises UserError where one is gone."""
    for part in partitions:
        for name in part.files:
            if not (part.folder / name).is_file():
                raise UserError(
                    f"{part.folder / name}: no such file; the run was updated by it, and is made anew from it; "
                    "allowed: the file as it was, or without the rows of this user"
                )
    return tuple(open_partitions(folder) for folder in dict.fromkeys(part.folder for part in partitions))


def count_rows(folder: Path, names: Collection[str], partitions: Sequence[Partitions] = ()) -> dict[str, int]:
    """Rows of the log, of the users and of friends that are about any of the ids. Raises UserError as `read_raw`."""
    raw = read_raw(folder)
    for part in partitions:
        raw = with_partitions(raw, part)
    columns: dict[str, tuple[RawTable, Sequence[str]]] = {"log": (raw.log.table, [raw.log.user])}
    if raw.users is not None:
        columns["users"] = (raw.users.table, [raw.users.id])
    if raw.friends is not None:
        columns["friends"] = (raw.friends, raw.friends.columns[:2])
    return {
        kind: int(table.frame.select(_about(table, ids, names)).sum().item()) for kind, (table, ids) in columns.items()
    }


def _about(table: RawTable, columns: Sequence[str], names: Collection[str]) -> pl.Expr:
    return pl.any_horizontal(as_id(table, name).is_in(sorted(names)).fill_null(False) for name in columns)


def copy_without(folder: Path, names: Collection[str], to: Path) -> None:
    """A complete dataset folder at `to` without these users, written whole or not at all; `folder` is only read.

    Raises UserError where `to` is not empty, and where nothing would be left.
    """
    check_free(folder, to)
    contents = read_contents(folder)
    findings = [Finding(kind=KIND, file="", reason="", edit=DropUser(name)) for name in names]
    mended = repair(contents, findings, (KIND,))
    with new_folder(to) as place:
        write_copy(place, contents, mended)
        read_back(place, to)


def erase_in_place(folder: Path, names: Collection[str], partitions: Sequence[Partitions] = ()) -> list[Path]:
    """Take these users out of the folder's own files and out of the partitions', each written whole or not at all;
    returns the files changed.

    Every other byte of a text file stays. Pictures and sounds that only these users' rows name are deleted. Raises
    UserError for what is no folder with a dataset.toml and files of its own: that is done with a copy.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"{folder}: forget --erase needs a folder with {FILE}; allowed: --data NEW")
    with named(folder):
        told = read_description(folder)
    if told.user_features:
        raise UserError(
            f"{folder}: forget --erase cannot change [features.user] and users at once; allowed: --data NEW"
        )
    media = _media(folder, names, partitions)
    log, users = told.log, told.users
    tables: list[tuple[str | None, Sequence[str]]] = [(log.path, [log.user])]
    if users is not None:
        tables += [(users.path, [users.id or "user"])] if users.path or users.uri else []
        tables += [(users.friends, ())] if users.friends else []
    for path, _ in tables:
        if path is None:
            raise UserError(f"{folder}: forget --erase never writes to a database; allowed: delete her rows there")
        if (folder / path).is_dir():
            raise UserError(f"{folder / path}: forget --erase needs text or Parquet; allowed: --data NEW")
    for name in media:  # before the rows that name them: a call that was stopped finds the rest
        name.unlink()
    files = [(folder / path, columns) for path, columns in tables if path]
    for part in partitions:
        ids = {"interactions": [log.user], "users": [(users and users.id) or "user"]}
        files += [
            (part.folder / name, columns)
            for name in part.files
            for kind, columns in ids.items()
            if name.startswith(kind)
        ]
    return [path for path, columns in files if _drop_records(path, columns, names)] + media


def _media(folder: Path, names: Collection[str], partitions: Sequence[Partitions]) -> list[Path]:
    """Files that rows of these users name, and no row of anybody else."""
    contents = read_contents(folder, partitions)
    if contents.users is None:
        return []
    hers = contents.users.frame[ID].is_in(sorted(names)).to_list()
    own, others = set[Path](), set[Path]()
    for owners in contents.owners():
        for paths in (owners.catalog.media or {}).values():
            for row, path in enumerate(paths):
                if path is not None:
                    (own if owners.name == "users" and hers[row] else others).add(path)
    return sorted(own - others)


def _drop_records(path: Path, columns: Sequence[str], names: Collection[str]) -> bool:
    """columns: of ids; () for the first two. Whether anything was there."""
    if path.suffix == ".parquet":
        table = read_parquet(path, path.name)
        own = table.columns
        keep = ~_about(table, columns or own[:2], names)
        kept = table.frame.filter(keep).select(own)
        if len(kept) < len(table.frame):
            with atomic_path(path) as temporary:
                kept.write_parquet(temporary)
        return len(kept) < len(table.frame)
    content = read_bytes(path, path.name)
    separator = "\t" if ".tsv" in path.suffixes else ","
    kept_bytes = without_records(content, separator, columns, names)
    if kept_bytes != content:
        with atomic_path(path) as temporary:
            packed = path.suffix == ".gz"
            temporary.write_bytes(gzip.compress(kept_bytes, mtime=0) if packed else kept_bytes)
    return kept_bytes != content


def without_records(content: bytes, separator: str, columns: Sequence[str], names: Collection[str]) -> bytes:
    """A text table without the records whose field in any of the columns is one of the names; all else byte by byte."""
    lines = list(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape", newline=""))
    reader = csv.reader(iter(lines), delimiter=separator)
    header = [name.strip() for name in next(reader)]
    header[0] = header[0].removeprefix(BOM)
    places = [header.index(name) for name in columns or header[:2]]
    kept, begin = lines[: reader.line_num], reader.line_num
    for fields in reader:
        if not any(place < len(fields) and fields[place].strip() in names for place in places):
            kept += lines[begin : reader.line_num]
        begin = reader.line_num
    return "".join(kept).encode("utf-8", "surrogateescape")
