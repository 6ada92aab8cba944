"""What is made of a long log, in blocks of its rows and into scratch files (scratch.py): rows, matrix, operator.

A log is long above scratch.LARGE_LOG interactions. What comes out holds the same numbers as what is made in memory of a
shorter one; its pages are those of mapped files, which the system may drop.

Letters: N rows (who listens), M columns (who is heard), E edges, b a block of them.
"""

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gnnrec.propagate import SparseOperator, edge_weights
from gnnrec.sampling.csr import CSR, build_csr
from gnnrec.scratch import empty, row_blocks

Array = NDArray[Any]
BLOCK = 2**22  # edges that are looked at together


def csr_of(
    row: Array, column: Array, num_rows: int, num_columns: int, time: Array | None = None, skip: Array | None = None
) -> CSR:
    """The edges [E] by rows, those of a row in the order in which they came. skip: [E] which ones are left out."""

    def blocks() -> Iterator[tuple[Array, Array, Array | None]]:
        for part in row_blocks(len(row), BLOCK):
            keep = slice(None) if skip is None else ~skip[part]
            yield row[part][keep], column[part][keep], None if time is None else time[part][keep]

    return build_csr(blocks, num_rows, num_columns)


def pairs_once(row: Array, column: Array, num_rows: int, num_columns: int) -> CSR:
    """Each pair of the edges [E] once, the columns of a row in ascending order."""
    csr = csr_of(row, column, num_rows, num_columns)
    offsets = _once(csr.offsets, csr.columns)
    return CSR(offsets, csr.columns[: offsets[-1]], num_columns)


@numba.njit(cache=True, nogil=True)
def _once(offsets: Array, columns: Array) -> Array:
    """Sort each row and move what differs to the front, in its place; where the rows begin then. [N + 1]"""
    made = np.zeros(len(offsets), dtype=np.int64)
    free = 0
    for row in range(len(offsets) - 1):
        part = np.sort(columns[offsets[row] : offsets[row + 1]])
        for nth in range(len(part)):
            if nth == 0 or part[nth] != part[nth - 1]:
                columns[free] = part[nth]
                free += 1
        made[row + 1] = free
    return made


def matrix_of(row: Array, column: Array, num_rows: int, num_columns: int) -> csr_array:
    """As `Interactions.matrix`. [N, M]"""
    csr = pairs_once(row, column, num_rows, num_columns)
    ones = empty((len(csr.columns),), np.float32, in_memory=0)
    ones[:] = 1
    # SciPy would copy all columns to be of the kind of the offsets.
    offsets = csr.offsets.astype(np.int32) if len(ones) < 2**31 else csr.offsets
    return csr_array((ones, csr.columns, offsets), shape=(num_rows, num_columns))


def operator_of(row: Array, column: Array, num_rows: int, num_columns: int, normalize: str) -> SparseOperator:
    """As `graph.operator` of interactions. [N, M]"""
    csr = pairs_once(row, column, num_rows, num_columns)
    heard = np.zeros(num_columns, np.int64)
    for part in row_blocks(len(csr.columns), BLOCK):
        heard += np.bincount(csr.columns[part], minlength=num_columns)
    degrees = [torch.from_numpy(count.astype(np.float32)) for count in (csr.degrees(), heard)]
    values = torch.from_numpy(empty((len(csr.columns),), np.float32, in_memory=0))
    for part in row_blocks(len(values), BLOCK):
        first, last = (np.searchsorted(csr.offsets, edge, side="right") - 1 for edge in (part.start, part.stop - 1))
        bounds = csr.offsets[first : last + 2].clip(part.start, part.stop)
        rows = torch.from_numpy(np.repeat(np.arange(first, last + 1), np.diff(bounds)))
        columns = torch.from_numpy(csr.columns[part]).long()
        values[part] = edge_weights(torch.ones(len(rows)), degrees[0][rows], degrees[1][columns], normalize)
    offsets, columns = torch.from_numpy(csr.offsets), torch.from_numpy(csr.columns)
    return SparseOperator(offsets, columns, values, (num_rows, num_columns))
