"""A FAISS index of the items in several files, each built from its own rows, so that none needs all of them in memory.

items.0000-of-0004.faiss … hold consecutive rows; the label r of a search over all is row r of items.ids.json. Search
goes over all files, which are mapped rather than read, and is exact as long as each is (see export.build_index).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.errors import UserError, missing_extra
from gnnrec.export_index import build_index
from gnnrec.exported import Vectors
from gnnrec.files import atomic_path, write_text


def write_shards(
    item: Vectors, item_ids: Sequence[str], folder: Path, num_shards: int, precision: str = "fp32"
) -> list[Path]:
    """item [I, d] may be a memory map. Shards of an export before, of another number, are taken away.

    Raises UserError for more shards than items.
    """
    faiss = _faiss()
    if num_shards > len(item):
        raise UserError(f"export --shards: found {num_shards}; allowed: 1 to {len(item)}, one item each")
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, rows in enumerate(np.array_split(np.arange(len(item)), num_shards)):
        written.append(folder / f"items.{number:04d}-of-{num_shards:04d}.faiss")
        part = np.ascontiguousarray(item[rows[0] : rows[-1] + 1], dtype=np.float32)
        with atomic_path(written[-1]) as temporary:
            faiss.write_index(build_index(part, precision=precision), str(temporary))
    for path in _shards(folder):
        if path not in written:
            path.unlink()
    (folder / "items.faiss").unlink(missing_ok=True)
    written.append(folder / "items.ids.json")
    write_text(written[-1], json.dumps(list(item_ids), ensure_ascii=False))
    return written


def search_shards(folder: Path, queries: Vectors, k: int) -> list[list[str]]:
    """The ids of the k best items of all shards for each query [n, d]. Raises UserError where one is missing."""
    faiss = _faiss()
    paths = _shards(folder)
    if not paths or len(paths) != int(paths[0].name.split("-of-")[1].split(".")[0]):
        raise UserError(f"{folder}: {len(paths)} of its shards are there; gnnrec export --shards writes all")
    parts = [faiss.read_index(str(path), faiss.IO_FLAG_MMAP) for path in paths]
    whole = faiss.IndexShards(parts[0].d, False, True)  # labels go on from shard to shard
    for part in parts:
        whole.add_shard(part)
    ids = json.loads((folder / "items.ids.json").read_text(encoding="utf-8"))
    _, found = whole.search(np.ascontiguousarray(queries, dtype=np.float32), k)
    return [[ids[label] for label in labels if label >= 0] for labels in found]


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("items.[0-9]*-of-[0-9]*.faiss"))


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("faiss", "faiss-cpu") from error
    return faiss
