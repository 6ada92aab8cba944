"""A FAISS index of the items in several files, each built from its own rows, so that none needs all of them in memory.

items.0000-of-0004.faiss … hold consecutive rows; the label r of a search over all is row r of items.ids.json. A search
reads one file after the other, so that memory holds one of them and the best so far, and is exact as long as each file
is (see export.build_index). Of equal scores the lower row comes first, as by a stable sort of all scores.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnnrec.commit import finish, together
from gnnrec.errors import UserError
from gnnrec.export_index import IDS, build_index, check_rows, faiss_library, read_index
from gnnrec.exported import Vectors, read_ids_of
from gnnrec.files import atomic_path, refuse_plain, write_text
from gnnrec.untrusted import map_npy


class Found(NamedTuple):
    """The best rows of an index for n queries, the best first; -1 and -inf where there are fewer than k."""

    rows: NDArray[np.int64]  # [n, k]
    scores: NDArray[np.float32]  # [n, k] inner products


def write_shards(
    item: Vectors, item_ids: Sequence[str], folder: Path, num_shards: int, precision: str = "fp32"
) -> list[Path]:
    """item [I, d] may be a memory map. All files together or none, see commit.py; an index before goes away with that.

    Raises UserError for more shards than items.
    """
    faiss = faiss_library()
    if num_shards > len(item):
        raise UserError(f"export --shards: found {num_shards}; allowed: 1 to {len(item)}, one item each")
    refuse_plain(folder / IDS)
    before = ["items.faiss", *(path.name for path in _shards(folder))]
    written = []
    with together(folder, before) as staged:
        for number, rows in enumerate(np.array_split(np.arange(len(item)), num_shards)):
            written.append(staged / f"items.{number:04d}-of-{num_shards:04d}.faiss")
            part = np.ascontiguousarray(item[rows[0] : rows[-1] + 1], dtype=np.float32)
            with atomic_path(written[-1]) as temporary:  # a full disk is said in one line
                faiss.write_index(build_index(part, precision=precision), str(temporary))
        written.append(staged / IDS)
        write_text(written[-1], json.dumps(list(item_ids), ensure_ascii=False))
    return [folder / path.name for path in written]


def search_shards(folder: Path | str, queries: Vectors, k: int) -> list[list[str]]:
    """The ids of the k best items of all shards for each query [n, d], by inner product, as `gnnrec search` shows them.

    folder: of `gnnrec export RUN --to FOLDER --format faiss --shards N`. Raises UserError where a shard is missing or
    damaged, or the queries have another number of dimensions.
    """
    ids, found = nearest_rows(Path(folder), queries, k)
    return [[ids[row] for row in rows if row >= 0] for rows in found.rows]


def nearest_rows(folder: Path, queries: Vectors, k: int) -> tuple[Sequence[str], Found]:
    """The ids of all rows, and the best rows with their scores. Memory: the ids, one shard, and n times k rows."""
    finish(folder)
    ids = read_ids_of("items", folder)
    paths = _shards(folder)
    if not paths or len(paths) != int(paths[0].name.split("-of-")[1].split(".")[0]):
        raise UserError(f"{folder}: {len(paths)} of its shards are there; gnnrec export --shards writes all")
    queries, first = np.ascontiguousarray(queries, dtype=np.float32), 0
    best = Found(np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32))
    for path in paths:
        shard = read_index(path)
        if shard.metric_type != faiss_library().METRIC_INNER_PRODUCT:
            raise UserError(f"{path}: not an index by inner product; gnnrec export --shards writes such")
        if queries.ndim != 2 or queries.shape[1] != shard.d:
            raise UserError(f"{folder}: found queries of shape {queries.shape}; allowed: [n, {shard.d}]")
        best = _merged(best, _search(shard, queries, k), first, k)
        first += shard.ntotal
        del shard  # before the next one is read
    check_rows(first, ids, folder)
    return ids, best


def _search(shard: Any, queries: Vectors, k: int) -> Found:
    """Of one shard [n, k or fewer]. Where the one after the k-th best is equal to it, more are asked for, query by
    query, until none of that score is left out."""
    size = min(k + 1, shard.ntotal)
    scores, rows = shard.search(queries, size)
    found = _best(rows, scores, k)
    for query in np.flatnonzero(_open(rows, scores, k)):
        more, rows, scores = size, rows[:0], scores[:0]
        while not len(rows) or (more < shard.ntotal and _open(rows, scores, k)[0]):
            more = min(2 * more, shard.ntotal)
            scores, rows = shard.search(queries[query : query + 1], more)
        one = _best(rows, scores, k)
        found.rows[query], found.scores[query] = one.rows[0], one.scores[0]
    return found


def _open(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> NDArray[np.bool_]:
    """Of which queries the last that was found is as good as the k-th best. [n]"""
    if rows.shape[1] <= k:
        return np.zeros(len(rows), bool)
    tied: NDArray[np.bool_] = (scores[:, -1] == scores[:, k - 1]) & (rows[:, -1] >= 0)
    return tied


def _merged(best: Found, found: Found, first: int, k: int) -> Found:
    rows = np.where(found.rows < 0, -1, found.rows + first)
    return _best(np.concatenate([best.rows, rows], axis=1), np.concatenate([best.scores, found.scores], axis=1), k)


def _best(rows: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Found:
    """The k best of [n, m], of equal scores the lower row; who is not there (-1) comes last."""
    nobody = rows < 0
    scores = np.where(nobody, np.float32(-np.inf), scores)
    order = np.lexsort((np.where(nobody, np.iinfo(np.int64).max, rows), -scores), axis=1)[:, :k]
    return Found(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))


def read_queries(path: Path) -> Vectors:
    """Vectors [n, d] of an .npy file. Raises UserError where it holds something else."""
    found = map_npy(path, str(path), "r")
    if found.ndim != 2 or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise UserError(f"{path}: found {found.dtype} {found.shape}; allowed: finite floating numbers [n, d]")
    return found.astype(np.float32)


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("items.[0-9]*-of-[0-9]*.faiss"))
