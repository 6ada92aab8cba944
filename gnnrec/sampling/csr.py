"""Neighbours by rows (CSR), in memory or as memory-mapped files: who sends messages to whom.

Letters: N rows (who listens), M columns (who is heard), E entries.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.files import new_folder
from gnnrec.sampling.mapped import new_mapped
from gnnrec.scratch import empty

Array = NDArray[Any]
Blocks = Callable[[], Iterable[tuple[Array, Array, Array | None]]]
"""Edges a block at a time, the same ones whenever called: rows [b], columns [b], times [b] or None."""


class CSR(NamedTuple):
    offsets: Array  # [N + 1] int
    columns: Array  # [E] int
    num_columns: int  # M
    time: Array | None = None  # [E] never decreasing within a row
    weight: Array | None = None  # [E] float32; None: all ones

    @property
    def num_rows(self) -> int:
        return len(self.offsets) - 1

    def degrees(self) -> Array:
        """How many entries each row has. [N]"""
        return np.diff(self.offsets)


def build_csr(blocks: Blocks, num_rows: int, num_columns: int, folder: Path | None = None) -> CSR:
    """Write the edges to memory-mapped files in a new `folder` and open them; memory holds N counts and one block.
    Without a folder they are scratch files, which are gone with the process (scratch.py).

    Entries of a row stay in the order in which they came, so that a log in order of time gives rows in order of time.
    Raises UserError for an index outside the table, for times out of order, and where the folder cannot be made.
    """
    count = np.zeros(num_rows + 1, dtype=np.int64)
    timed = False
    latest = None
    for row, column, time in blocks():
        for name, index, size in (("row", row, num_rows), ("column", column, num_columns)):
            if len(index) and not 0 <= index.min() <= index.max() < size:
                raise UserError(f"{folder or 'graph'}: {name} index outside 0..{size - 1}")
        if time is not None and len(time):
            timed = True
            if np.any(np.diff(time) < 0) or (latest is not None and time[0] < latest):
                raise UserError(f"{folder or 'graph'}: edges are not in order of time")
            latest = time[-1]
        count[1:] += np.bincount(row, minlength=num_rows)
    offsets = np.cumsum(count)
    if folder is None:
        columns = empty((int(offsets[-1]),), np.int32, in_memory=0)
        times = empty((int(offsets[-1]) if timed else 0,), np.int64, in_memory=0)
        _place(blocks, offsets, columns, times)
        return CSR(offsets, columns, num_columns, times if timed else None)
    with new_folder(folder) as made:
        np.save(made / "offsets.npy", offsets)
        np.save(made / "num_columns.npy", np.int64(num_columns))
        columns = _new(made / "columns.npy", np.int32, int(offsets[-1]))
        times = _new(made / "time.npy", np.int64, int(offsets[-1]) if timed else 0)
        _place(blocks, offsets, columns, times)
        for array in (columns, times):
            if isinstance(array, np.memmap):
                array.flush()
    return open_csr(folder)


def _place(blocks: Blocks, offsets: Array, columns: Array, times: Array) -> None:
    free = offsets[:-1].copy()
    for row, column, time in blocks():
        place_edges(row, column, np.zeros(0, np.int64) if time is None else time, free, columns, times)


def open_csr(folder: Path) -> CSR:
    """What `build_csr` wrote, memory-mapped. Raises UserError where it is not there or not whole."""
    try:
        offsets, columns, time = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in ("offsets", "columns", "time")
        )
        num_columns = int(np.load(folder / "num_columns.npy", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no readable graph files ({error})") from error
    if len(columns) != offsets[-1] or len(time) not in (0, len(columns)):
        raise UserError(f"{folder}: damaged graph files: {len(columns):,} columns for {int(offsets[-1]):,} entries")
    return CSR(np.array(offsets), columns, num_columns, time if len(time) else None)


def _new(path: Path, kind: Any, size: int) -> Array:
    """A file of `size` numbers, memory-mapped for writing; an empty one cannot be mapped."""
    if not size:
        np.save(path, np.zeros(0, dtype=kind))
        return np.zeros(0, dtype=kind)
    return new_mapped(path, kind, (size,))


@numba.njit(cache=True, nogil=True)
def place_edges(row: Array, column: Array, time: Array, free: Array, columns: Array, times: Array) -> None:
    """Write each edge to the next free entry of its row. row, column [b]"""
    for edge in range(len(row)):
        at = free[row[edge]]
        free[row[edge]] = at + 1
        columns[at] = column[edge]
        if len(time):
            times[at] = time[edge]
