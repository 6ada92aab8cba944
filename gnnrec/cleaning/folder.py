"""From a dataset folder to what is wrong in it, and to a cleaned copy; the original is only read."""

import csv
import gzip
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import tomli_w
from numpy.typing import NDArray

from gnnrec.cleaning.contents import Contents, Owners, read_contents
from gnnrec.cleaning.find import find
from gnnrec.cleaning.finding import Finding
from gnnrec.cleaning.repair import Repaired, Table, repair
from gnnrec.cleaning.settings import KINDS, SAFE, CleanConfig, parse_kinds
from gnnrec.datasets import Dataset
from gnnrec.datasets.description import FILE
from gnnrec.datasets.paths import inside
from gnnrec.datasets.raw import RawLog
from gnnrec.errors import UserError
from gnnrec.files import new_folder
from gnnrec.progress import progress

LIST = "cleaning.csv"
COLUMNS = ("kind", "file", "line", "id", "column", "value", "reason", "repair", "done")
FEATURES = "features"
TABLES = ("interactions", "items", "users", "friends")
# Names that the copy itself uses, so that no file of the original may take them.
OWN = (FILE, LIST, FEATURES, *(f"{name}.{kind}" for name in TABLES for kind in ("csv.gz", "parquet")))
TERMS = ("LICENCE*", "LICENSE*", "NOTICE*", "README*")  # go with the data


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What was found, and what of it the copy has mended."""

    data: Path
    findings: list[Finding]
    repaired: tuple[str, ...]  # kinds
    to: Path | None = None
    size: str = ""  # of the copy

    @property
    def copied(self) -> str:
        """What the copy holds and where it is; empty without one."""
        return "" if self.to is None else f"{self.size}\ncopy: {self.to}"

    def done(self, finding: Finding) -> bool:
        if self.to is None:
            return False
        return finding.kind == "bad-rows" or (finding.kind in self.repaired and finding.edit is not None)

    def rows(self) -> list[dict[str, Any]]:
        """One for each finding, with the keys COLUMNS."""
        return [
            {
                "kind": finding.kind,
                "file": finding.file,
                "line": finding.line,
                "id": finding.id,
                "column": finding.column,
                "value": finding.value,
                "reason": finding.reason,
                "repair": KINDS[finding.kind] if finding.edit or finding.kind == "bad-rows" else "none",
                "done": self.done(finding),
            }
            for finding in self.findings
        ]

    def kinds(self) -> list[dict[str, Any]]:
        """One row for each kind found: how often, the first one, what its repair does, how often that was done."""
        found = Counter(finding.kind for finding in self.findings)
        done = Counter(finding.kind for finding in self.findings if self.done(finding))
        first: dict[str, Finding] = {}
        for finding in self.findings:
            first.setdefault(finding.kind, finding)
        return [
            {
                "kind": kind,
                "found": found[kind],
                "example": example(first[kind]),
                "reason": first[kind].reason,
                "repair": KINDS[kind],
                "safe": kind in SAFE,
                "done": done[kind],
            }
            for kind in KINDS
            if kind in found
        ]

    def to_json(self) -> dict[str, Any]:
        to = None if self.to is None else str(self.to)
        return {"data": str(self.data), "to": to, "kinds": self.kinds(), "findings": self.rows()}


def example(finding: Finding) -> str:
    place = finding.file + (f", line {finding.line}" if finding.line is not None else "")
    return place + (f": {finding.value}" if finding.value else "")


def clean(
    folder: Path, config: CleanConfig | None = None, to: Path | None = None, kinds: str | None = None
) -> Cleaning:
    """Look for everything; with `to`, write a copy there.

    `kinds`: what is repaired in it, comma-separated or all; SAFE by default.

    Raises UserError where `to` is not empty or lies within `folder`, and where nothing would be left.
    """
    chosen = SAFE if kinds is None else parse_kinds(kinds, "--repair")
    if to is None and kinds is not None:
        raise UserError("clean --repair: needs --to FOLDER, since the data itself is never changed")
    if to is not None:
        check_free(folder, to)
    contents = read_contents(folder)
    findings = find(contents, config or CleanConfig(), time.time())
    if to is None:
        return Cleaning(folder, findings, ())
    mended = repair(contents, findings, chosen)
    with new_folder(to) as place:
        cleaning = Cleaning(folder, mended.findings, chosen, to)
        write_copy(place, contents, mended)
        write_list(place / LIST, cleaning)
        size = read_back(place, to)
    return Cleaning(folder, mended.findings, chosen, to, size)


def check_free(folder: Path, to: Path) -> None:
    if to.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{to}: lies in {folder}, which is never written to; allowed: a new folder elsewhere")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        found = "holds files already" if to.is_dir() else "is a file"
        raise UserError(f"{to}: {found}; allowed: a new or empty folder")


def read_back(place: Path, to: Path) -> str:
    """Load the copy: what cannot be read is no copy."""
    try:
        return Dataset.load(place).summary()
    except UserError as error:
        reason = str(error).removeprefix(f"{place}/")
        raise UserError(f"{to}: not written, since what is left could not be read: {reason}") from error


def write_copy(place: Path, contents: Contents, mended: Repaired) -> None:
    raw = contents.raw
    log: dict[str, Any] = {
        "path": write_table(place, "interactions", mended.log),
        "user": raw.log.user,
        "item": raw.log.item,
    }
    log |= {key: value for key, value in optional(raw.log).items() if value is not None}
    document: dict[str, Any] = {"name": raw.name, "licence": raw.licence, "interactions": log}
    if raw.split is not None:
        document["split"] = asdict(raw.split)
    features: dict[str, Any] = {}
    for owners, table in ((contents.items, mended.items), (contents.users, mended.users)):
        if owners is not None and table is not None:
            document[owners.name] = write_owners(place, owners, table)
            given = write_features(place, owners.name, table.features)
            features |= given if owners.name == "items" else {"user": given} if given else {}
    if mended.friends is not None:
        document.setdefault("users", {})["friends"] = write_table(place, "friends", mended.friends)
    if features:
        document["features"] = features
    copy_terms(raw.root, place)
    (place / FILE).write_text(tomli_w.dumps(document), encoding="utf-8")


def optional(log: RawLog) -> dict[str, str | float | None]:
    names = ("timestamp", "rating", "min_rating", "retention_days", "split")
    return {name: getattr(log, name) for name in names}


def write_table(place: Path, name: str, frame: pl.DataFrame) -> str:
    """As gzipped CSV where all columns are text, else as Parquet, so that no value changes; the name of the file."""
    if all(kind == pl.String for kind in frame.dtypes):
        with (place / f"{name}.csv.gz").open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            packed.write(frame.write_csv().encode())
        return f"{name}.csv.gz"
    frame.write_parquet(place / f"{name}.parquet")
    return f"{name}.parquet"


def write_owners(place: Path, owners: Owners, table: Table) -> dict[str, Any]:
    frame = table.frame
    for modality, column in owners.raw.media.items():
        paths = owners.catalog.media[modality] if owners.catalog.media else ()
        kept = [path for path, keep in zip(paths, table.kept) if keep]
        frame = copy_files(place, owners, frame, column, kept)
    section: dict[str, Any] = {"path": write_table(place, owners.name, frame), "id": owners.raw.id}
    return section | ({"text": list(owners.raw.text)} if owners.raw.text else {}) | dict(owners.raw.media)


def copy_files(
    place: Path, owners: Owners, frame: pl.DataFrame, column: str, paths: Sequence[Path | None]
) -> pl.DataFrame:
    """Copy what the cells still name; the table with the paths as they are once links and `..` are followed.

    `paths` were checked on reading: None is one that leaves the folder or leads nowhere, whose cell stays as it is.
    """
    cells = frame[column].cast(pl.String).to_list()
    for row, path in enumerate(progress(paths, text=f"copying {column} files", unit="file")):
        if path is None or not cells[row]:
            continue
        target = Path(os.path.realpath(path)).relative_to(owners.root)
        if target.parts[0] in OWN:
            target = "media" / target
        if not (place / target).exists():
            (place / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / target)
        cells[row] = str(target)
    return frame.with_columns(pl.Series(column, cells, dtype=pl.String))


def write_features(place: Path, owner: str, features: Mapping[str, NDArray[np.float32]]) -> dict[str, dict[str, str]]:
    """Files by number: the name of a modality may be anything, also a path."""
    made = {}
    for number, (modality, values) in enumerate(features.items()):
        path = f"{FEATURES}/{owner}_{number}.npy"
        (place / FEATURES).mkdir(exist_ok=True)
        np.save(place / path, values)
        made[modality] = {"path": path}
    return made


def copy_terms(root: Path, place: Path) -> None:
    for pattern in TERMS:
        for path in sorted(root.glob(pattern)):
            if path.is_file() and inside(root, path.name) and not (place / path.name).exists():
                shutil.copyfile(path, place / path.name)


def write_list(path: Path, cleaning: Cleaning) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"done": "yes" if row["done"] else "no"} for row in cleaning.rows())
