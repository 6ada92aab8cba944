"""What an export holds, and how the files of its formats are read and written.

Letters: n rows (users or items), d dimensions.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnnrec.compression import from_int8, to_fp16, to_int8
from gnnrec.errors import UserError
from gnnrec.files import KEYS
from gnnrec.streams import Stream, mapped, streamed, write_list
from gnnrec.untrusted import map_npy, parse_json, parse_npy
from gnnrec.vault import open_write, read_bytes

Vectors = NDArray[np.float32]


class Exported(NamedTuple):
    """What an export holds. Vectors may be memory maps."""

    user: Vectors  # [U, d]
    item: Vectors  # [I, d]
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]

    def sides(self) -> tuple[tuple[str, tuple[str, ...], Vectors], ...]:
        return ("users", self.user_ids, self.user), ("items", self.item_ids, self.item)


def compressed(vectors: Vectors, precision: str) -> tuple[NDArray[Any], Vectors | None]:
    """Rows as they are stored, and their scales where they need one."""
    if precision == "int8":
        return to_int8(vectors)
    return (to_fp16(vectors) if precision == "fp16" else vectors), None


def streams(vectors: Vectors, precision: str) -> tuple[Stream, Stream | None]:
    """The same, to be written a block of rows at a time."""
    if precision == "fp32":
        return streamed(vectors), None
    if precision == "fp16":
        return mapped(vectors, np.float16, vectors.shape, to_fp16), None
    rows = mapped(vectors, np.int8, vectors.shape, lambda block: to_int8(block)[0])
    return rows, mapped(vectors, np.float32, vectors.shape[:1], lambda block: to_int8(block)[1])


def restored(rows: NDArray[Any], scales: Vectors | None) -> Vectors:
    if rows.dtype == np.int8 and scales is None:
        raise ValueError("int8 without scales")
    return rows.astype(np.float32, copy=False) if scales is None else from_int8(rows, scales)


def write_ids(embeddings: Exported, folder: Path) -> list[Path]:
    paths = []
    for name, ids, _ in embeddings.sides():
        paths.append(folder / f"{name}.ids.json")
        with open_write(paths[-1]) as file:
            write_list(file, ids)
    return paths


def read_ids(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return read_ids_of("users", folder), read_ids_of("items", folder)


def read_ids_of(name: str, folder: Path) -> tuple[str, ...]:
    """users or items, in the order of their rows."""
    path = folder / f"{name}.ids.json"
    return tuple(parse_json(read(path), path, list))


def read(path: Path) -> bytes:
    """Raises UserError where it is not there, and as `vault.read_bytes`."""
    return read_bytes(there(path))


def read_array(path: Path) -> NDArray[Any]:
    """An .npy file; one that is not encrypted is read as it is used."""
    return parse_npy(read(path), path) if is_sealed_folder(path.parent) else map_npy(there(path), str(path), "c")


def there(path: Path) -> Path:
    if not path.exists():
        raise UserError(f"{path}: not found; run `gnnrec export` into this folder first")
    return path


def is_sealed_folder(folder: Path) -> bool:
    return (folder / KEYS).exists()


def check_sizes(embeddings: Exported, where: str) -> None:
    for name, ids, vectors in embeddings.sides():
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise UserError(f"{where}: {len(ids)} {name} ids do not fit vectors of shape {vectors.shape}")
