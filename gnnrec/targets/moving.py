"""Embeddings to a target and back from anywhere, and as features of a dataset.

Letters: I rows of a file of items, d dimensions.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import tomli_w

from gnnrec.datasets.clean import as_id
from gnnrec.datasets.raw import ROW, RawCatalog
from gnnrec.datasets.sources import named, read_raw
from gnnrec.errors import UserError
from gnnrec.export import FLAT_LIMIT, Exported, Vectors, import_embeddings
from gnnrec.files import atomic_path
from gnnrec.targets import TARGETS, open_target
from gnnrec.targets.check import check_embeddings
from gnnrec.targets.table import SIDES, Table, Target, same_length

FOUND_BY = {  # of several formats in a folder the first one is read
    "parquet": "items.parquet",
    "npy": "items.npy",
    "safetensors": "embeddings.safetensors",
    "faiss": "items.faiss",
}


def store(
    target: Target,
    embeddings: Exported,
    words: Mapping[str, Sequence[str | None]],
    *,
    exact: bool | None = None,
    replace: bool = False,
) -> list[str]:
    """Write users and items into a target; returns the names of its tables.

    words: what goes with the items, column -> [I]. exact: search without an index; None: up to FLAT_LIMIT items.
    Raises UserError for what is there already, unless `replace`, and for embeddings that cannot be right.
    """
    check_embeddings(embeddings, "export")
    if (taken := target.taken()) and not replace:
        raise UserError(f"{target.where}: {', '.join(taken)}: there already; allowed: --replace, or another --name")
    tables = {
        "users": Table(ids=embeddings.user_ids, vectors=embeddings.user),
        "items": Table(ids=embeddings.item_ids, vectors=embeddings.item, words=words),
    }
    return target.write(tables, uuid4().hex, exact=len(embeddings.item) <= FLAT_LIMIT if exact is None else exact)


def fetch(source: str, name: str) -> Exported:
    """The embeddings of a target's address or of a folder of files. Raises UserError where they cannot be right."""
    if source.partition(":")[0] in TARGETS:
        with closing(open_target(source, name)) as target:
            where, embeddings = target.where, gathered(target)
    else:
        folder, where = Path(source), source
        formats = [format for format, file in FOUND_BY.items() if (folder / file).exists()]
        if not formats:
            files = ", ".join(FOUND_BY.values())
            raise UserError(f"{folder}: none of {files}; gnnrec export writes them; databases: {', '.join(TARGETS)}:…")
        embeddings = import_embeddings(folder, formats[0])
    check_embeddings(embeddings, where)
    return embeddings


def gathered(target: Target) -> Exported:
    """All of a target in one piece."""
    ids: dict[str, list[str]] = {side: [] for side in SIDES}
    parts: dict[str, list[Vectors]] = {side: [] for side in SIDES}
    lengths: dict[str, dict[int, str]] = {side: {} for side in SIDES}
    for side, names, vectors in target.read():
        lengths[side].setdefault(vectors.shape[1], names[0])
        same_length(f"{target.where}: {side}", lengths[side])
        ids[side] += names
        parts[side].append(vectors)
    if empty := [side for side in SIDES if not ids[side]]:
        raise UserError(f"{target.where}: no {empty[0]}")
    user, item = (np.concatenate(parts[side]) for side in SIDES)
    return Exported(user, item, tuple(ids["users"]), tuple(ids["items"]))


def rows_of(data: Path, embeddings: Exported) -> dict[str, Vectors]:
    """Items, and users where there is a file of them, in the order of a dataset's files: what [features.NAME] takes.

    A row whose id has no vector is NaN, which means missing content. Raises UserError where none has one.
    """
    raw = read_raw(data)
    with named(data):
        if raw.items is None:
            raise UserError("no file of items, whose rows the vectors would belong to")
        found = {"items": _in_order(raw.items, embeddings.item_ids, embeddings.item)}
        if np.isnan(found["items"]).all():
            example = f"such as {embeddings.item_ids[0]!r}"
            raise UserError(
                f"{raw.items.table.file}: none of its ids has a vector; {len(embeddings.item_ids)} have one, {example}"
            )
        if raw.users is not None:
            found["users"] = _in_order(raw.users, embeddings.user_ids, embeddings.user)
    return found


def write_features(folder: Path, rows: Mapping[str, Vectors]) -> None:
    """items.npy, users.npy."""
    for side, vectors in rows.items():
        with atomic_path(folder / f"{side}.npy") as temporary:
            np.save(temporary, vectors, allow_pickle=False)


def described(folder: Path, data: Path, rows: Mapping[str, Vectors]) -> str:
    """What dataset.toml says to use these features, and how many rows have one."""
    inside = folder.resolve().is_relative_to(data.resolve())
    place = folder.resolve().relative_to(data.resolve()) if inside else Path(folder.name)
    entries = {side: {folder.name: {"path": str(place / f"{side}.npy")}} for side in rows}
    features = entries["items"] | ({"user": entries["users"]} if "users" in entries else {})
    have = [f"{int((~np.isnan(found[:, 0])).sum()):,} of {len(found):,} {side}" for side, found in rows.items()]
    moved = "" if inside else f", with {folder} moved into {data}"
    return f"# {data}/dataset.toml: {', '.join(have)}{moved}\n" + tomli_w.dumps({"features": features}).strip()


def _in_order(catalog: RawCatalog, ids: Sequence[str], vectors: Vectors) -> Vectors:
    """Row r of the file gets the vector of its id. [I, d]"""
    catalog.table.require({"id": catalog.id})
    known = pl.DataFrame({"id": ids, "place": np.arange(len(ids))}, schema_overrides={"id": pl.String})
    rows = catalog.table.frame.select(pl.col(ROW), as_id(catalog.table, catalog.id).alias("id"))
    found = rows.join(known, on="id", how="inner")
    values = np.full((catalog.table.num_records, vectors.shape[1]), np.nan, dtype=np.float32)
    values[found[ROW].to_numpy()] = vectors[found["place"].to_numpy()]
    return values
