"""FAISS indexes of exported embeddings: built, searched, and read back. An index is in memory while it is built."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec import scratch
from gnnrec.commit import finish
from gnnrec.errors import UserError, missing_extra
from gnnrec.exported import Exported, Vectors, is_sealed_folder, read, read_ids, there, write_ids
from gnnrec.files import atomic_path
from gnnrec.vault import write_bytes

IDS = "items.ids.json"
SUBSPACE = 4  # dimensions that one byte of a product quantization stands for
CENTRES = 256  # of each
FLAT_LIMIT = 200_000  # up to here a FAISS index is exact; above it is an inverted file
ROWS_BACK = 65_536  # read out of an index at a time


def search_index(folder: Path, queries: Vectors, k: int) -> list[list[str]]:
    """The ids of the k best items of a FAISS export for each query [n, d], asked one by one."""
    finish(folder)
    index, ids = read_index(folder / "items.faiss"), read_ids(folder)[1]
    check_rows(index.ntotal, ids, folder)
    found = (index.search(query[None], k)[1][0] for query in queries)
    return [[ids[label] for label in labels if label >= 0] for labels in found]


def build_index(vectors: Vectors, flat_limit: int = FLAT_LIMIT, precision: str = "fp32") -> Any:
    """A FAISS index over vectors [n, d] by inner product: exact up to `flat_limit` rows, an inverted file above."""
    faiss = faiss_library()
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
    faiss = faiss_library()
    index = faiss.IndexPQ(vectors.shape[1], vectors.shape[1] // SUBSPACE, 8, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.min_points_per_centroid = 1  # it would warn on stderr below 39 a centre
    index.train(vectors)
    index.add(vectors)
    return index


def write_faiss(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    return _write_indexes(embeddings, folder, lambda name, vectors: build_index(vectors, precision=precision))


def write_pq(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    def build(name: str, vectors: Vectors) -> Any:
        return build_pq(vectors) if name == "items" else build_index(vectors, precision=precision)

    return _write_indexes(embeddings, folder, build)


def _write_indexes(embeddings: Exported, folder: Path, build: Callable[[str, Vectors], Any]) -> list[Path]:
    faiss = faiss_library()
    paths = write_ids(embeddings, folder)
    for name, _, vectors in embeddings.sides():
        paths.append(folder / f"{name}.faiss")
        if is_sealed_folder(folder):
            write_bytes(paths[-1], faiss.serialize_index(build(name, vectors)).data)
            continue
        with atomic_path(paths[-1]) as temporary:
            faiss.write_index(build(name, vectors), str(temporary))
    return paths


def read_faiss(folder: Path) -> Exported:
    faiss = faiss_library()
    found = []
    for name in ("users", "items"):
        index = read_index(folder / f"{name}.faiss")
        if isinstance(index, faiss.IndexIVF):
            index.make_direct_map()  # from a label to its place, which a search does not need
        vectors = scratch.empty((index.ntotal, index.d))
        for rows in scratch.row_blocks(len(vectors), ROWS_BACK):
            vectors[rows] = index.reconstruct_n(rows.start, rows.stop - rows.start)
        found.append(vectors)
    return Exported(found[0], found[1], *read_ids(folder))


def check_pq(item: Vectors) -> None:
    if item.shape[1] % SUBSPACE:
        raise UserError(f"export --format faiss-pq: found {item.shape[1]} dimensions; allowed: multiples of {SUBSPACE}")
    if len(item) < CENTRES:
        raise UserError(f"export --format faiss-pq: found {len(item)} items; allowed: {CENTRES} or more")


def read_index(path: Path) -> Any:
    """Raises UserError where it is damaged. No list in it may claim to be longer than the file: FAISS would ask for the
    memory before it looks."""
    faiss, size = faiss_library(), there(path).stat().st_size
    faiss.set_deserialization_vector_byte_limit(size)
    sealed = read(path) if is_sealed_folder(path.parent) else None
    try:
        return (
            faiss.read_index(str(path)) if sealed is None else faiss.deserialize_index(np.frombuffer(sealed, np.uint8))
        )
    except (RuntimeError, MemoryError) as error:  # in FAISS's words a place in its own source
        raise UserError(f"{path}: not a readable FAISS index; export into its folder again") from error


def check_rows(index_rows: int, ids: Sequence[str], folder: Path) -> None:
    """Raises UserError where an index and its ids are not of one export."""
    if index_rows != len(ids):
        raise UserError(f"{folder}: its index has {index_rows:,} rows and {IDS} {len(ids):,}; export into it again")


def faiss_library() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("faiss", "faiss-cpu") from error
    return faiss
