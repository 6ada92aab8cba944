"""Trained embeddings in the formats that other tools read, and back. Ids go with the vectors in every one of them.

| format      | files                                                                                         |
|-------------|-----------------------------------------------------------------------------------------------|
| parquet     | users.parquet, items.parquet: id (string), embedding (fixed-size list of float32)              |
| npy         | users.npy, items.npy: [n, d] float32; users.ids.json, items.ids.json: row r is the id of row r |
| safetensors | embeddings.safetensors: users, items [n, d]; users.ids, items.ids: UTF-8 bytes of a JSON list |
| faiss       | users.faiss, items.faiss: inner product, label r is row r; users.ids.json, items.ids.json      |
| faiss-pq    | as faiss, but items.faiss holds codes of a product quantization; users stay as they are         |

With precision fp16 the vectors are float16; with int8 they are int8 beside a float32 scale a row, which a row is
multiplied with (parquet: the column scale; npy: users.scales.npy, items.scales.npy; safetensors: users.scales,
items.scales; faiss: float16 and 8-bit scalar quantizers, of which the latter has a range a dimension).

Where a model adds something to the inner products (item paths), lists.parquet holds its lists as they are served.

Letters: n rows (users or items), d dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.commit import finish, together
from gnnrec.compression import check_precision, to_fp16, truncate
from gnnrec.errors import UserError
from gnnrec.export_formats import (
    read_npy_files,
    read_parquet,
    read_safetensors,
    write_npy_files,
    write_parquet,
    write_safetensors,
)
from gnnrec.export_index import (
    FLAT_LIMIT,
    build_index,
    check_pq,
    faiss_library,
    read_faiss,
    search_index,
    write_faiss,
    write_pq,
)
from gnnrec.exported import Exported, Vectors, check_sizes
from gnnrec.scratch import blocks
from gnnrec.untrusted import refusing
from gnnrec.vault import encrypt_folder, open_write, write_json

__all__ = [
    "FLAT_LIMIT",
    "FORMATS",
    "Exported",
    "Vectors",
    "build_index",
    "export_embeddings",
    "import_embeddings",
    "prepare",
    "search_index",
]

LISTS = "lists.parquet"


def export_embeddings(
    user: Vectors,
    item: Vectors,
    user_ids: Sequence[str],
    item_ids: Sequence[str],
    folder: Path,
    formats: Sequence[str] = ("parquet", "npy", "safetensors", "faiss"),
    *,
    precision: str = "fp32",
    dim: int | None = None,
    lists: tuple[NDArray[np.int32], Vectors] | None = None,
    documents: Mapping[str, Any] = MappingProxyType({}),
    encrypt: bool = False,
) -> list[Path]:
    """Write user [U, d] and item [I, d] embeddings with their ids: all files together or none, see commit.py.

    precision: fp32, fp16 or int8. dim: dimensions to keep after a rotation, see `compression.truncate`.
    lists: each user's best items [U, k], -1 where there are no more, and their scores, for models whose scores are not
    the inner products of the embeddings alone: lists.parquet. documents: JSON files that are to stand beside, by name.
    encrypt: as `vault.encrypt_folder`; a folder that is encrypted stays so. Returns the files written. Raises UserError
    for an unknown format or where FAISS is asked for and not installed.
    """
    for name in formats:
        _check_format(name)
    check_precision(precision)
    embeddings = prepare(user, item, user_ids, item_ids, dim)
    if precision == "fp16":
        for vectors in (embeddings.user, embeddings.item):  # what is too large shows before the first file too
            for rows in blocks(vectors):
                to_fp16(vectors[rows])
    if any(name.startswith("faiss") for name in formats):
        faiss_library()  # a missing package shows before the first file is written
    if {"faiss", "faiss-pq"} <= set(formats):
        raise UserError("export --format: found faiss and faiss-pq, which write the same files; allowed: one of them")
    if "faiss-pq" in formats:
        check_pq(embeddings.item)
    if encrypt:
        encrypt_folder(folder)
    stale = [LISTS] + (["users.scales.npy", "items.scales.npy"] if "npy" in formats else [])
    with together(folder, stale) as staged:
        written = [path for name in dict.fromkeys(formats) for path in FORMATS[name][0](embeddings, staged, precision)]
        if lists is not None:
            written.append(_write_lists(*lists, embeddings, staged))
        for name, document in documents.items():
            written.append(staged / name)
            write_json(written[-1], document)
    return [folder / path.name for path in dict.fromkeys(written)]


def prepare(
    user: Vectors, item: Vectors, user_ids: Sequence[str], item_ids: Sequence[str], dim: int | None = None
) -> Exported:
    """What an export writes, before it is compressed. Raises UserError for sizes that do not fit."""
    embeddings = Exported(_rows(user), _rows(item), tuple(user_ids), tuple(item_ids))
    check_sizes(embeddings, "export")
    if dim is None:
        return embeddings
    user, item = truncate(embeddings.user, embeddings.item, dim)
    return Exported(_rows(user), _rows(item), *embeddings[2:])


def _write_lists(items: NDArray[np.int32], scores: Vectors, embeddings: Exported, folder: Path) -> Path:
    """Columns user, rank, item, score; the lists of some users at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    users, things = pl.Series(embeddings.user_ids, dtype=pl.String), pl.Series(embeddings.item_ids, dtype=pl.String)
    schema = pa.schema(
        [("user", pa.large_string()), ("rank", pa.int32()), ("item", pa.large_string()), ("score", pa.float32())]
    )
    with open_write(folder / LISTS) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in blocks(items):
            user, place = np.nonzero(items[rows] >= 0)
            columns = {
                "user": users.gather(user + rows.start),
                "rank": (place + 1).astype(np.int32),
                "item": things.gather(items[rows][user, place]),
                "score": scores[rows][user, place],
            }
            writer.write_table(pl.DataFrame(columns).to_arrow().cast(schema))
    return folder / LISTS


def import_embeddings(folder: Path, format: str) -> Exported:
    """Read what `export_embeddings` wrote in one format. Raises UserError where a file is missing or broken."""
    _check_format(format)
    finish(folder)
    with refusing(folder, f"not an export in the format {format}"):
        embeddings = FORMATS[format][1](folder)
    check_sizes(embeddings, str(folder))
    return embeddings


FORMATS: dict[str, tuple[Callable[[Exported, Path, str], list[Path]], Callable[[Path], Exported]]] = {
    "parquet": (write_parquet, read_parquet),
    "npy": (write_npy_files, read_npy_files),
    "safetensors": (write_safetensors, read_safetensors),
    "faiss": (write_faiss, read_faiss),
    "faiss-pq": (write_pq, read_faiss),
}


def _rows(vectors: Vectors) -> Vectors:
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise UserError(f"export: unknown format {name!r}; allowed: {', '.join(FORMATS)}")
