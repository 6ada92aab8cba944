"""Trained embeddings in the formats that other tools read, and back. Ids go with the vectors in every one of them.

| format      | files                                                                                         |
|-------------|-----------------------------------------------------------------------------------------------|
| parquet     | users.parquet, items.parquet: id (string), embedding (fixed-size list of float32)              |
| npy         | users.npy, items.npy: [n, d] float32; users.ids.json, items.ids.json: row r is the id of row r |
| safetensors | embeddings.safetensors: users, items [n, d]; users.ids, items.ids: UTF-8 bytes of a JSON list |
| faiss       | users.faiss, items.faiss: inner product, label r is row r; users.ids.json, items.ids.json      |

Where a model adds something to the inner products (item paths), lists.parquet holds its lists as they are served.

Letters: n rows (users or items), d dimensions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.errors import UserError, missing_extra
from gnnrec.files import atomic_path, write_text

FLAT_LIMIT = 200_000  # up to here a FAISS index is exact; above it is an inverted file

Vectors = NDArray[np.float32]


class Exported(NamedTuple):
    """What an export holds."""

    user: Vectors  # [U, d]
    item: Vectors  # [I, d]
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]


def export_embeddings(
    user: Vectors,
    item: Vectors,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    folder: Path,
    formats: Sequence[str] = ("parquet", "npy", "safetensors", "faiss"),
) -> list[Path]:
    """Write user [U, d] and item [I, d] embeddings with their ids; each file is written whole or not at all.

    Returns the files written. Raises UserError for an unknown format or where FAISS is asked for and not installed.
    """
    for name in formats:
        _check_format(name)
    embeddings = Exported(_rows(user), _rows(item), tuple(user_ids), tuple(item_ids))
    _check_sizes(embeddings, "export")
    if "faiss" in formats:
        _faiss()  # a missing package shows before the first file is written
    written = [path for name in dict.fromkeys(formats) for path in FORMATS[name][0](embeddings, folder)]
    return list(dict.fromkeys(written))


def export_lists(
    items: NDArray[np.int32],
    scores: Vectors,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    folder: Path,
) -> Path:
    """Write each user's best items [U, k], -1 where there are no more, as lists.parquet: user, rank, item, score.

    For models whose scores are not the inner products of the embeddings alone.
    """
    user, place = np.nonzero(items >= 0)
    table = pl.DataFrame(
        {
            "user": pl.Series(list(user_ids)).gather(user),
            "rank": (place + 1).astype(np.int32),
            "item": pl.Series(list(item_ids)).gather(items[user, place]),
            "score": scores[user, place],
        }
    )
    with atomic_path(folder / "lists.parquet") as temporary:
        table.write_parquet(temporary)
    return folder / "lists.parquet"


def import_embeddings(folder: Path, format: str) -> Exported:
    """Read what `export_embeddings` wrote in one format. Raises UserError where a file is missing or broken."""
    _check_format(format)
    try:
        embeddings = FORMATS[format][1](folder)
    except UserError:
        raise
    except Exception as error:  # each library has its own for a file that is cut off or something else
        raise UserError(f"{folder}: not an export in the format {format}: {str(error).splitlines()[0]}") from error
    _check_sizes(embeddings, str(folder))
    return embeddings


def build_index(vectors: Vectors, flat_limit: int = FLAT_LIMIT) -> Any:
    """A FAISS index over vectors [n, d] by inner product: exact up to `flat_limit` rows, an inverted file above."""
    faiss = _faiss()
    num_rows, dim = vectors.shape
    if num_rows <= flat_limit:
        index = faiss.IndexFlatIP(dim)
    else:
        num_lists = int(4 * np.sqrt(num_rows))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, num_lists, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, num_lists // 16)  # kept in the file; lists that are searched for one query
        index.train(vectors)
    index.add(vectors)
    return index


def _write_parquet(embeddings: Exported, folder: Path) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, ids, vectors in _sides(embeddings):
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        paths.append(folder / f"{name}.parquet")
        with atomic_path(paths[-1]) as temporary:
            pq.write_table(
                pa.table({"id": pa.array(ids, pa.string()), "embedding": column}),
                temporary,
                compression="zstd",
                use_dictionary=False,
                # Exponents beside exponents compress; bytes of whole floats do not.
                column_encoding={"embedding.list.element": "BYTE_STREAM_SPLIT"},
            )
    return paths


def _read_parquet(folder: Path) -> Exported:
    import pyarrow.parquet as pq

    ids, vectors = {}, {}
    for name in ("users", "items"):
        table = pq.read_table(_existing(folder / f"{name}.parquet"))
        column = table["embedding"].combine_chunks()
        ids[name] = tuple(table["id"].to_pylist())
        vectors[name] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return Exported(vectors["users"], vectors["items"], ids["users"], ids["items"])


def _write_npy(embeddings: Exported, folder: Path) -> list[Path]:
    paths = _write_ids(embeddings, folder)
    for name, _, vectors in _sides(embeddings):
        paths.append(folder / f"{name}.npy")
        with atomic_path(paths[-1]) as temporary:
            np.save(temporary, vectors, allow_pickle=False)
    return paths


def _read_npy(folder: Path) -> Exported:
    user, item = (np.load(_existing(folder / f"{name}.npy"), allow_pickle=False) for name in ("users", "items"))
    return Exported(user, item, *_read_ids(folder))


def _write_safetensors(embeddings: Exported, folder: Path) -> list[Path]:
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[Any]] = {}
    for name, ids, vectors in _sides(embeddings):
        tensors[name] = vectors
        # As a tensor, not in the header: that is limited to 100 MB, and read whole by everyone who opens the file.
        tensors[f"{name}.ids"] = np.frombuffer(json.dumps(ids, ensure_ascii=False).encode(), dtype=np.uint8)
    path = folder / "embeddings.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    return [path]


def _read_safetensors(folder: Path) -> Exported:
    from safetensors.numpy import load_file

    tensors = load_file(_existing(folder / "embeddings.safetensors"))
    user_ids, item_ids = (tuple(json.loads(tensors[f"{name}.ids"].tobytes())) for name in ("users", "items"))
    return Exported(tensors["users"], tensors["items"], user_ids, item_ids)


def _write_faiss(embeddings: Exported, folder: Path) -> list[Path]:
    faiss = _faiss()
    paths = _write_ids(embeddings, folder)
    for name, _, vectors in _sides(embeddings):
        paths.append(folder / f"{name}.faiss")
        with atomic_path(paths[-1]) as temporary:
            faiss.write_index(build_index(vectors), str(temporary))
    return paths


def _read_faiss(folder: Path) -> Exported:
    faiss = _faiss()
    vectors = []
    for name in ("users", "items"):
        index = faiss.read_index(str(_existing(folder / f"{name}.faiss")))
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # from a label to its place, which a search does not need
        vectors.append(index.reconstruct_n(0, index.ntotal))
    return Exported(vectors[0], vectors[1], *_read_ids(folder))


FORMATS: dict[str, tuple[Callable[[Exported, Path], list[Path]], Callable[[Path], Exported]]] = {
    "parquet": (_write_parquet, _read_parquet),
    "npy": (_write_npy, _read_npy),
    "safetensors": (_write_safetensors, _read_safetensors),
    "faiss": (_write_faiss, _read_faiss),
}


def _write_ids(embeddings: Exported, folder: Path) -> list[Path]:
    paths = []
    for name, ids, _ in _sides(embeddings):
        paths.append(folder / f"{name}.ids.json")
        write_text(paths[-1], json.dumps(ids, ensure_ascii=False))
    return paths


def _read_ids(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    users, items = (
        tuple(json.loads(_existing(folder / f"{name}.ids.json").read_text(encoding="utf-8")))
        for name in ("users", "items")
    )
    return users, items


def _sides(embeddings: Exported) -> tuple[tuple[str, tuple[str, ...], Vectors], ...]:
    return ("users", embeddings.user_ids, embeddings.user), ("items", embeddings.item_ids, embeddings.item)


def _rows(vectors: Vectors) -> Vectors:
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _existing(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: not found; run `gnnrec export` into this folder first")
    return path


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise UserError(f"export: unknown format {name!r}; allowed: {', '.join(FORMATS)}")


def _check_sizes(embeddings: Exported, where: str) -> None:
    for name, ids, vectors in _sides(embeddings):
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise UserError(f"{where}: {len(ids)} {name} ids do not fit vectors of shape {vectors.shape}")


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("faiss", "faiss-cpu") from error
    return faiss
