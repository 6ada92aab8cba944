"""Large arrays in scratch files: a file without a name, mapped into memory, whose pages the kernel may put on disk.

The file is gone with the array, and with the process however it ends. It lies in $TMPDIR, else in /var/tmp, which is on
disk where /tmp may be memory (file-hierarchy(7)). Its size is claimed at once, so that a full disk is an error here and
no crash at a later write.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError

IN_MEMORY = 2**28  # bytes; arrays up to that size are in memory as any other
LARGE_LOG = 20_000_000  # interactions; what is made of so many and more rows of a log lies in scratch files
BLOCK_BYTES = 2**22  # of a table that are looked at together


def empty(shape: tuple[int, ...], kind: Any = np.float32, in_memory: int | None = None) -> NDArray[Any]:
    """An array to be filled. in_memory: bytes up to which it is in memory; by default IN_MEMORY.

    Raises UserError where the disk is full.
    """
    in_memory = max(0, IN_MEMORY if in_memory is None else in_memory)
    return np.empty(shape, kind) if _num_bytes(shape, kind) <= in_memory else nameless(shape, kind)


def is_large_log(num_rows: int) -> bool:
    return num_rows >= LARGE_LOG


def of_log(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """An array to be filled whose last dimension are rows of a log; in memory where the log is no large one."""
    return empty(shape, kind, in_memory=0) if is_large_log(shape[-1]) else np.empty(shape, kind)


def nameless(shape: tuple[int, ...], kind: Any, folder: Path | None = None) -> NDArray[Any]:
    """An array of zeros in a file without a name. folder: where, made if need be; None: that of scratch files.

    Raises UserError where the disk is full.
    """
    size, place = _num_bytes(shape, kind), scratch_folder() if folder is None else folder
    try:
        place.mkdir(parents=True, exist_ok=True)
        # The name that it has for a moment where the file system knows none without: that of left-overs (files.py).
        with tempfile.TemporaryFile(prefix=".tmp-", dir=place) as file:
            os.posix_fallocate(file.fileno(), 0, size)
            return np.asarray(np.memmap(file, dtype=kind, mode="r+", shape=shape))
    except OSError as error:
        another = "; TMPDIR names another" if folder is None else ""
        raise UserError(f"{place}: no room for a table of {size:,} bytes ({error.strerror}){another}") from error


def _num_bytes(shape: tuple[int, ...], kind: Any) -> int:
    return int(np.prod(shape)) * np.dtype(kind).itemsize


def scratch_folder() -> Path:
    named = os.environ.get("TMPDIR")
    if named or not os.access("/var/tmp", os.W_OK):
        return Path(tempfile.gettempdir())
    return Path("/var/tmp")


def blocks(table: NDArray[Any]) -> Iterator[slice]:
    """The rows of a table, so many at a time that they take about BLOCK_BYTES."""
    size = max(1, BLOCK_BYTES // max(1, int(np.prod(table.shape[1:])) * table.itemsize))
    return row_blocks(len(table), size)


def row_blocks(num_rows: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, num_rows)) for first in range(0, num_rows, size))
