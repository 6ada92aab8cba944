"""Parquet, npy and safetensors: written a block of rows at a time, read as memory maps where they can be."""

import json
from pathlib import Path

import numpy as np

from gnnrec import scratch
from gnnrec.exported import (
    Exported,
    Vectors,
    compressed,
    is_sealed_folder,
    read,
    read_array,
    read_ids,
    restored,
    streams,
    there,
    write_ids,
)
from gnnrec.streams import Stream, list_parts, write_npy
from gnnrec.tensor_files import KINDS, map_tensor, open_tensors, write_tensors
from gnnrec.untrusted import check_claim
from gnnrec.vault import open_write

STORED = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}


def write_parquet(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for name, ids, vectors in embeddings.sides():
        kind = pa.from_numpy_dtype(np.dtype(STORED[precision]))
        fields = [("id", pa.string()), ("embedding", pa.list_(kind, vectors.shape[1]))]
        schema = pa.schema([*fields, ("scale", pa.float32())] if precision == "int8" else fields)
        paths.append(folder / f"{name}.parquet")
        with (
            open_write(paths[-1]) as file,
            pq.ParquetWriter(
                file,
                schema,
                compression="zstd",
                use_dictionary=False,
                # Exponents beside exponents compress; bytes of whole floats do not.
                column_encoding={"embedding.list.element": "PLAIN" if precision == "int8" else "BYTE_STREAM_SPLIT"},
            ) as writer,
        ):
            for block in scratch.blocks(vectors):  # a row group each
                rows, scales = compressed(vectors[block], precision)
                column = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])
                columns = [pa.array(ids[block], pa.string()), column]
                columns += [] if scales is None else [pa.array(scales)]
                writer.write_table(pa.table(columns, schema=schema))
    return paths


def read_parquet(folder: Path) -> Exported:
    ids, vectors = {}, {}
    for name in ("users", "items"):
        ids[name], vectors[name] = _read_table(folder / f"{name}.parquet")
    return Exported(vectors["users"], vectors["items"], ids["users"], ids["items"])


def _read_table(path: Path) -> tuple[tuple[str, ...], Vectors]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(read(path)) if is_sealed_folder(path.parent) else there(path)) as file:
        num_rows, width = file.metadata.num_rows, file.schema_arrow.field("embedding").type.list_size
        check_claim(num_rows, path.stat().st_size)
        table, ids = scratch.empty((num_rows, width)), list[str]()
        for batch in file.iter_batches():
            column = batch["embedding"]
            rows = column.flatten().to_numpy().reshape(len(column), width)
            scales = batch["scale"].to_numpy() if "scale" in batch.schema.names else None
            table[len(ids) : len(ids) + len(rows)] = restored(rows, scales)
            ids += batch["id"].to_pylist()
    return tuple(ids), table


def write_npy_files(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    paths = write_ids(embeddings, folder)
    for name, _, vectors in embeddings.sides():
        rows, scales = streams(vectors, precision)
        parts = {folder / f"{name}.npy": rows, folder / f"{name}.scales.npy": scales}
        for path, stream in parts.items():
            if stream is not None:
                paths.append(path)
                with open_write(path) as file:
                    write_npy(file, stream)
    return paths


def read_npy_files(folder: Path) -> Exported:
    vectors = []
    for name in ("users", "items"):
        rows, scales = read_array(folder / f"{name}.npy"), None
        if rows.dtype == np.int8:
            scales = read_array(folder / f"{name}.scales.npy")
        vectors.append(restored(rows, scales))
    return Exported(vectors[0], vectors[1], *read_ids(folder))


def write_safetensors(embeddings: Exported, folder: Path, precision: str) -> list[Path]:
    parts: dict[str, Stream] = {}
    for name, ids, vectors in embeddings.sides():
        rows, scales = streams(vectors, precision)
        # As a tensor, not in the header: that is limited to 100 MB, and read whole by everyone who opens the file.
        parts |= {name: rows, f"{name}.ids": _texts(ids)} | ({} if scales is None else {f"{name}.scales": scales})
    path = folder / "embeddings.safetensors"
    with open_write(path) as file:
        write_tensors(file, {name: (KINDS[stream.kind.name], stream) for name, stream in parts.items()})
    return [path]


def read_safetensors(folder: Path) -> Exported:
    path = there(folder / "embeddings.safetensors")
    with open_tensors(path) as file:
        names = list(file.keys())
    tensors = {name: map_tensor(path, name) for name in names}
    user_ids, item_ids = (tuple(json.loads(tensors[f"{name}.ids"].tobytes())) for name in ("users", "items"))
    user, item = (restored(tensors[name], tensors.get(f"{name}.scales")) for name in ("users", "items"))
    return Exported(user, item, user_ids, item_ids)


def _texts(ids: tuple[str, ...]) -> Stream:
    """UTF-8 bytes of their JSON list."""
    size = sum(len(part) for part in list_parts(ids))
    return Stream(np.dtype(np.uint8), (size,), lambda: (np.frombuffer(part, np.uint8) for part in list_parts(ids)))
