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

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.commit import finish, together
from gnnrec.compression import check_precision, from_int8, to_fp16, to_int8, truncate
from gnnrec.errors import UserError, missing_extra
from gnnrec.untrusted import parse_json, parse_npy, refusing
from gnnrec.vault import encrypt_folder, read_bytes, write_bytes, write_json, write_text

LISTS = "lists.parquet"
SUBSPACE = 4  # dimensions that one byte of a product quantization stands for
CENTRES = 256  # of each
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
        to_fp16(embeddings.user), to_fp16(embeddings.item)  # what is too large shows before the first file too
    if any(name.startswith("faiss") for name in formats):
        _faiss()  # a missing package shows before the first file is written
    if {"faiss", "faiss-pq"} <= set(formats):
        raise UserError("export --format: found faiss and faiss-pq, which write the same files; allowed: one of them")
    if "faiss-pq" in formats:
        _check_pq(embeddings.item)
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
    _check_sizes(embeddings, "export")
    if dim is None:
        return embeddings
    user, item = truncate(embeddings.user, embeddings.item, dim)
    return Exported(_rows(user), _rows(item), *embeddings[2:])


def _write_lists(items: NDArray[np.int32], scores: Vectors, embeddings: Exported, folder: Path) -> Path:
    """Columns user, rank, item, score."""
    user, place = np.nonzero(items >= 0)
    table = pl.DataFrame(
        {
            "user": pl.Series(list(embeddings.user_ids)).gather(user),
            "rank": (place + 1).astype(np.int32),
            "item": pl.Series(list(embeddings.item_ids)).gather(items[user, place]),
            "score": scores[user, place],
        }
    )
    content = io.BytesIO()
    table.write_parquet(content)
    write_bytes(folder / LISTS, content.getbuffer())
    return folder / LISTS


def import_embeddings(folder: Path, format: str) -> Exported:
    """Read what `export_embeddings` wrote in one format. Raises UserError where a file is missing or broken."""
    _check_format(format)
    finish(folder)
    with refusing(folder, f"not an export in the format {format}"):
        embeddings = FORMATS[format][1](folder)
    _check_sizes(embeddings, str(folder))
    return embeddings


def search_index(folder: Path, queries: Vectors, k: int) -> list[list[str]]:
    """The ids of the k best items of a FAISS export for each query [n, d], asked one by one."""
    finish(folder)
    index, ids = _read_index(folder / "items.faiss"), _read_ids(folder)[1]
    found = (index.search(query[None], k)[1][0] for query in queries)
    return [[ids[label] for label in labels if label >= 0] for labels in found]


def build_index(vectors: Vectors, flat_limit: int = FLAT_LIMIT, precision: str = "fp32") -> Any:
    """A FAISS index over vectors [n, d] by inner product: exact up to `flat_limit` rows, an inverted file above."""
    faiss = _faiss()
    num_rows, dim = vectors.shape
    quantizer = {"fp16": faiss.ScalarQuantizer.QT_fp16, "int8": faiss.ScalarQuantizer.QT_8bit}.get(precision)
    if quantizer is not None and num_rows <= flat_limit:
        index = faiss.IndexScalarQuantizer(dim, quantizer, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
    elif num_rows <= flat_limit:
        index = faiss.IndexFlatIP(dim)
    else:
        num_lists = int(4 * np.sqrt(num_rows))
        lists = faiss.IndexFlatIP(dim), dim, num_lists
        if quantizer is None:
            index = faiss.IndexIVFFlat(*lists, faiss.METRIC_INNER_PRODUCT)
        else:
            index = faiss.IndexIVFScalarQuantizer(*lists, quantizer, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(8, num_lists // 16)  # kept in the file; lists that are searched for one query
        index.train(vectors)
    index.add(vectors)
    return index


def build_pq(vectors: Vectors) -> Any:
    """A FAISS index by inner product over codes of a product quantization: a byte for four dimensions."""
    faiss = _faiss()
    index = faiss.IndexPQ(vectors.shape[1], vectors.shape[1] // SUBSPACE, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # it would warn on stderr below 39 a centre
    index.train(vectors)
    index.add(vectors)
    return index


def _write_parquet(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, ids, vectors in _sides(embeddings):
        rows, scales = _compressed(vectors, precision)
        column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
        columns = {"id": pa.array(ids, pa.string()), "embedding": column}
        paths.append(folder / f"{name}.parquet")
        content = pa.BufferOutputStream()
        pq.write_table(
            pa.table(columns if scales is None else columns | {"scale": pa.array(scales)}),
            content,
            compression="zstd",
            use_dictionary=False,
            # Exponents beside exponents compress; bytes of whole floats do not.
            column_encoding={"embedding.list.element": "PLAIN" if precision == "int8" else "BYTE_STREAM_SPLIT"},
        )
        write_bytes(paths[-1], memoryview(content.getvalue()))
    return paths


def _read_parquet(folder: Path) -> Exported:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, vectors = {}, {}
    for name in ("users", "items"):
        table = pq.read_table(pa.BufferReader(_read(folder / f"{name}.parquet")))
        column = table["embedding"].combine_chunks()
        ids[name] = tuple(table["id"].to_pylist())
        rows = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        vectors[name] = _restored(rows, table["scale"].to_numpy() if "scale" in table.column_names else None)
    return Exported(vectors["users"], vectors["items"], ids["users"], ids["items"])


def _write_npy(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    paths = _write_ids(embeddings, folder)
    for name, _, vectors in _sides(embeddings):
        rows, scales = _compressed(vectors, precision)
        parts = {folder / f"{name}.npy": rows, folder / f"{name}.scales.npy": scales}
        for path, values in parts.items():
            if values is None:
                continue
            paths.append(path)
            content = io.BytesIO()
            np.save(content, values, allow_pickle=False)
            write_bytes(path, content.getbuffer())
    return paths


def _read_npy(folder: Path) -> Exported:
    vectors = []
    for name in ("users", "items"):
        rows, scales = _read_array(folder / f"{name}.npy"), None
        if rows.dtype == np.int8:
            scales = _read_array(folder / f"{name}.scales.npy")
        vectors.append(_restored(rows, scales))
    return Exported(vectors[0], vectors[1], *_read_ids(folder))


def _write_safetensors(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    from safetensors.numpy import save

    tensors: dict[str, NDArray[Any]] = {}
    for name, ids, vectors in _sides(embeddings):
        tensors[name], scales = _compressed(vectors, precision)
        if scales is not None:
            tensors[f"{name}.scales"] = scales
        # As a tensor, not in the header: that is limited to 100 MB, and read whole by everyone who opens the file.
        tensors[f"{name}.ids"] = np.frombuffer(json.dumps(ids, ensure_ascii=False).encode(), dtype=np.uint8)
    path = folder / "embeddings.safetensors"
    write_bytes(path, save(tensors))
    return [path]


def _read_safetensors(folder: Path) -> Exported:
    from safetensors.numpy import load

    tensors = load(_read(folder / "embeddings.safetensors"))
    user_ids, item_ids = (tuple(json.loads(tensors[f"{name}.ids"].tobytes())) for name in ("users", "items"))
    user, item = (_restored(tensors[name], tensors.get(f"{name}.scales")) for name in ("users", "items"))
    return Exported(user, item, user_ids, item_ids)


def _write_faiss(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    return _write_indexes(embeddings, folder, lambda name, vectors: build_index(vectors, precision=precision))


def _write_pq(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    def build(name: str, vectors: Vectors) -> Any:
        return build_pq(vectors) if name == "items" else build_index(vectors, precision=precision)

    return _write_indexes(embeddings, folder, build)


def _write_indexes(embeddings: Exported, folder: Path, build: Callable[[str, Vectors], Any]) -> list[Path]:
    faiss = _faiss()
    paths = _write_ids(embeddings, folder)
    for name, _, vectors in _sides(embeddings):
        paths.append(folder / f"{name}.faiss")
        write_bytes(paths[-1], faiss.serialize_index(build(name, vectors)).data)
    return paths


def _read_faiss(folder: Path) -> Exported:
    faiss = _faiss()
    vectors = []
    for name in ("users", "items"):
        index = _read_index(folder / f"{name}.faiss")
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # from a label to its place, which a search does not need
        vectors.append(index.reconstruct_n(0, index.ntotal))
    return Exported(vectors[0], vectors[1], *_read_ids(folder))


FORMATS: dict[str, tuple[Callable[[Exported, Path, str], list[Path]], Callable[[Path], Exported]]] = {
    "parquet": (_write_parquet, _read_parquet),
    "npy": (_write_npy, _read_npy),
    "safetensors": (_write_safetensors, _read_safetensors),
    "faiss": (_write_faiss, _read_faiss),
    "faiss-pq": (_write_pq, _read_faiss),
}


def _write_ids(embeddings: Exported, folder: Path) -> list[Path]:
    paths = []
    for name, ids, _ in _sides(embeddings):
        paths.append(folder / f"{name}.ids.json")
        write_text(paths[-1], json.dumps(ids, ensure_ascii=False))
    return paths


def _read_ids(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    paths = [folder / f"{name}.ids.json" for name in ("users", "items")]
    users, items = (tuple(parse_json(_read(path), path, list)) for path in paths)
    return users, items


def _read_array(path: Path) -> NDArray[Any]:
    return parse_npy(_read(path), path)


def _sides(embeddings: Exported) -> tuple[tuple[str, tuple[str, ...], Vectors], ...]:
    return ("users", embeddings.user_ids, embeddings.user), ("items", embeddings.item_ids, embeddings.item)


def _compressed(vectors: Vectors, precision: str) -> tuple[NDArray[Any], Vectors | None]:
    """Rows as they are stored, and their scales where they need one."""
    if precision == "int8":
        return to_int8(vectors)
    return (to_fp16(vectors) if precision == "fp16" else vectors), None


def _restored(rows: NDArray[Any], scales: Vectors | None) -> Vectors:
    if rows.dtype == np.int8 and scales is None:
        raise ValueError("int8 without scales")
    return rows.astype(np.float32, copy=False) if scales is None else from_int8(rows, scales)


def _check_pq(item: Vectors) -> None:
    if item.shape[1] % SUBSPACE:
        raise UserError(f"export --format faiss-pq: found {item.shape[1]} dimensions; allowed: multiples of {SUBSPACE}")
    if len(item) < CENTRES:
        raise UserError(f"export --format faiss-pq: found {len(item)} items; allowed: {CENTRES} or more")


def _rows(vectors: Vectors) -> Vectors:
    return np.ascontiguousarray(vectors, dtype=np.float32)


def _read(path: Path) -> bytes:
    if not path.exists():
        raise UserError(f"{path}: not found; run `gnnrec export` into this folder first")
    return read_bytes(path)


def _read_index(path: Path) -> Any:
    """No list in it may claim to be longer than the file: FAISS would ask for the memory before it looks."""
    faiss, content = _faiss(), _read(path)
    faiss.set_deserialization_vector_byte_limit(len(content))
    return faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))


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
