"""What belongs to items (or users): their catalogue, their media, their ready-made features, in index order.

Letters: I rows of the catalogue, d dimensions of a feature.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.clean import ID
from gnnrec.datasets.dataset import REJECTED_SCHEMA
from gnnrec.datasets.paths import inside
from gnnrec.datasets.raw import LINE, ROW, RawCatalog, RawTable
from gnnrec.errors import UserError, count
from gnnrec.progress import progress
from gnnrec.scratch import blocks, empty
from gnnrec.untrusted import map_npy

PATH_PROBLEMS = LEAVES, FOLDER, ABSENT = "path leaves the folder of the dataset", "path is a folder", "no such file"


def attach(
    raw: RawCatalog | None,
    frame: pl.DataFrame | None,
    order: Sequence[str],
    root: Path,
    features: Mapping[str, tuple[Path, ...]],
) -> tuple[Catalog | None, dict[str, NDArray[np.float32]], list[pl.DataFrame]]:
    """The catalogue and the ready-made features in index order; ids without a row have nulls and NaN."""
    if raw is None or frame is None:
        return None, {}, []
    rows = pl.DataFrame({ID: order}).join(frame, on=ID, how="left", maintain_order="left")
    rejected = []
    media = {}
    for modality, column in raw.media.items():
        media[modality], more = check_paths(rows, column, root, raw.table.file)
        rejected.append(more)
    loaded = {}
    for modality, paths in features.items():
        loaded[modality], more = load_features(paths, rows[ROW], raw.table)
        rejected.append(more)
    catalog = Catalog(
        table=rows.with_columns(pl.col(ID).alias(raw.id)).drop(ID, ROW, LINE),
        text_columns=raw.text,
        media=media or None,
        file=raw.table.file,
        lines=rows[LINE].to_list(),
    )
    return catalog, loaded, rejected


def check_paths(rows: pl.DataFrame, column: str, root: Path, file: str) -> tuple[tuple[Path | None, ...], pl.DataFrame]:
    """The absolute path of each row, None where the field is empty or wrong; the wrong ones. [I]

    An item whose picture is missing stays an item: only the path is set aside.
    """
    root = root.resolve()
    paths: list[Path | None] = []
    wrong = []
    named = rows.select(pl.col(column).cast(pl.String).str.strip_chars(), LINE)
    for name, line in progress(named.iter_rows(), total=len(named), text=f"looking for files of {file}", unit="file"):
        problem = None if not name else judge_path(root, name)
        if problem:
            wrong.append((file, line, problem, name))
        paths.append(root / name if name and not problem else None)
    return tuple(paths), pl.DataFrame(wrong, schema=REJECTED_SCHEMA, orient="row").sort("line")


def judge_path(root: Path, name: str) -> str | None:
    """What is wrong with a path, or None. The content is looked at by gnnrec.encoders."""
    if not inside(root, name):
        return LEAVES
    if os.path.isdir(root / name):  # noqa: PTH112
        return FOLDER
    return None if os.path.isfile(root / name) else ABSENT  # noqa: PTH113


def load_features(
    paths: Sequence[Path], position: pl.Series, table: RawTable
) -> tuple[NDArray[np.float32], pl.DataFrame]:
    """Row r of the files, one below another, belongs to row r of the catalogue's (the header not counted). [I, d]

    The files are read as they are needed. A row of zeros or NaN says that the content is missing and becomes a row of
    NaN. A row in which only some numbers are not finite is broken: it becomes a row of NaN too, and is listed.
    """
    file, parts = paths[0].name, [open_features(path) for path in paths]
    for path, part in zip(paths, parts):
        if part.shape[1] != parts[0].shape[1]:
            raise UserError(f"{path.name}: {count(part.shape[1], 'dimension')}, but {file} has {parts[0].shape[1]}")
    sizes = [len(part) for part in parts]
    if sum(sizes) != table.num_records:
        raise UserError(
            f"{file}: {count(sum(sizes), 'row')}, but {table.file} has {table.num_records}; row r belongs to row r"
        )
    rows = position.fill_null(-1).to_numpy()
    values = empty((len(rows), parts[0].shape[1]))
    broken = np.zeros(len(rows), dtype=bool)
    for block in blocks(values):
        found = np.full(values[block].shape, np.nan, dtype=np.float32)
        for first, part in zip(np.cumsum([0, *sizes]), parts):
            mine = (rows[block] >= first) & (rows[block] < first + len(part))
            with np.errstate(over="ignore"):  # of doubles: they become infinite, which is told below
                found[mine] = part[rows[block][mine] - first]
        nothing = (np.isnan(found) | (found == 0)).all(axis=1)
        broken[block] = ~np.isfinite(found).all(axis=1) & ~nothing
        found[nothing | broken[block]] = np.nan
        values[block] = found
    lines = sorted(int(row) + 1 for row in rows[broken])
    listed = [(file, line, "features are not finite (line: row of the file from 1)", None) for line in lines]
    return values, pl.DataFrame(listed, schema=REJECTED_SCHEMA, orient="row")


def open_features(path: Path) -> NDArray[Any]:
    """A matrix of numbers, left on disk. Raises UserError for anything else."""
    stored = map_npy(path, path.name)
    if stored.ndim != 2 or stored.dtype.kind not in "fiu":
        raise UserError(f"{path.name}: a matrix of numbers, rows by dimensions, is needed")
    return stored
