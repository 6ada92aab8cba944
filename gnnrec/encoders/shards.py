"""Features in Parquet files of some hundred rows, named by the content in them, so that nothing is encoded twice.

Columns: content (sha256), features (a FixedSizeList of d floats; null where the content could not be used), reason.
A file is whole or not there. Letters: n rows, d dimensions.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from gnnrec.encoders.encode import Encoded
from gnnrec.errors import UserError
from gnnrec.files import atomic_path


def shard_path(folder: Path, keys: Sequence[str]) -> Path:
    """The file of exactly these contents."""
    return folder / f"{hashlib.sha256(chr(10).join(keys).encode()).hexdigest()[:32]}.parquet"


def write_shard(path: Path, parts: Sequence[Encoded], dim: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = np.concatenate([np.zeros((0, dim), dtype=np.float32), *(part.values for part in parts)])
    keys = [key for part in parts for key in part.keys]
    reasons = {key: reason for part in parts for key, reason in part.unusable.items()}
    features = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), dim)
    nothing = pa.nulls(len(reasons), features.type)
    columns = {
        "content": pa.array([*keys, *reasons], pa.string()),
        "features": pa.chunked_array([features, nothing]),
        "reason": pa.array([None] * len(keys) + list(reasons.values()), pa.string()),
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd", use_dictionary=False)


def read_shards(folder: Path, dim: int) -> Iterator[Encoded]:
    """All files of a folder. Raises UserError for one that is something else, or of another encoder."""
    for path in sorted(folder.glob("[!.]*.parquet")):  # .tmp-… is of a writer that was killed
        yield read_shard(path, dim)


def read_shard(path: Path, dim: int) -> Encoded:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        usable = table.filter(table["features"].is_valid())
        column = usable["features"].combine_chunks()
        if column.type.list_size != dim:
            raise ValueError(f"{column.type.list_size} dimensions, {dim} expected")
        values = column.flatten().to_numpy().reshape(-1, dim)
        rest = table.filter(table["features"].is_null())
        unusable = dict(zip(rest["content"].to_pylist(), rest["reason"].to_pylist()))
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a shard of features ({str(error).splitlines()[0]}); it may be deleted") from error
    return Encoded(keys=usable["content"].to_pylist(), values=values, unusable=unusable)
