"""Which items go with an item, and what they share: exact, one item at a time, without an item-item matrix.

Compiled by numba (once per machine; the machine code is kept on disk), for the sparse product of a log with itself
holds, for every item, everything that anybody ever had with it.

Letters: R rows (users, or interactions), I items, B a block of items, k neighbours of each.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

Array = NDArray[Any]


def nearest(
    rows: csr_array, target: csr_array, items: NDArray[np.int64], k: int, own: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The k columns of `rows` [R, I] with the largest cosine to the column of `target` [R, I] of each item [B].

    Entries have to be above 0 and each column at most once in a row; those of `target` are ones. Neighbours [B, k],
    best first, of equal ones the lower index first, and their inner products with the target [B, k]; -1 and 0 where
    fewer than k share a row with it. `own`: whether an item may be its own neighbour.
    """
    by_item = target.tocsc()
    length = np.sqrt(np.maximum(np.bincount(rows.indices, rows.data.astype(np.float64) ** 2, rows.shape[1]), 1e-12))
    return _nearest(items, by_item.indptr, by_item.indices, rows.indptr, rows.indices, rows.data, length, k, own)


def grams(by_item: csc_array, near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Inner products of the neighbours' columns among themselves: near [B, k] -> lower triangles [B, k, k]."""
    return _grams(near, by_item.indptr, by_item.indices, by_item.data, by_item.shape[0])


@numba.njit(cache=True, nogil=True)
def _nearest(
    items: Array, target_start: Array, target_row: Array, start: Array, column: Array, value: Array,
    length: Array, k: int, own: bool,
) -> tuple[Array, Array]:  # fmt: skip
    """Neighbours [B, k] of the items [B], -1 where there are no more, and the inner product with each. [B, k]"""
    near = np.full((len(items), k), -1, dtype=np.int64)
    common = np.zeros((len(items), k), dtype=np.float64)
    total = np.zeros(len(length), dtype=np.float64)
    touched = np.empty(len(length), dtype=np.int64)
    for place in range(len(items)):
        item, count = items[place], 0
        for at in range(target_start[item], target_start[item + 1]):
            row = target_row[at]
            for entry in range(start[row], start[row + 1]):
                other = column[entry]
                if total[other] == 0.0:
                    touched[count] = other
                    count += 1
                total[other] += value[entry]
        if not own and total[item] != 0.0:
            where = 0
            while touched[where] != item:
                where += 1
            count -= 1
            touched[where] = touched[count]
            total[item] = 0.0
        candidates = np.sort(touched[:count])  # equal cosines: the lower index
        cosine = np.empty(count, dtype=np.float64)
        for nth in range(count):
            cosine[nth] = -total[candidates[nth]] / length[candidates[nth]]
        best = np.argsort(cosine, kind="mergesort")[:k]
        for nth in range(len(best)):
            near[place, nth] = candidates[best[nth]]
            common[place, nth] = total[candidates[best[nth]]]
        for nth in range(count):
            total[candidates[nth]] = 0.0
    return near, common


@numba.njit(cache=True, nogil=True)
def _grams(near: Array, start: Array, row_of: Array, value: Array, num_rows: int) -> Array:
    """Inner products of the neighbours' columns, lower triangles. [B, k] -> [B, k, k]"""
    num_items, k = near.shape
    grams = np.zeros((num_items, k, k), dtype=np.float64)
    count = np.zeros(num_rows, dtype=np.int64)  # entries of each row among the neighbours
    begin = np.zeros(num_rows, dtype=np.int64)
    for place in range(num_items):
        size = 0
        for nth in range(k):
            if near[place, nth] >= 0:
                size += start[near[place, nth] + 1] - start[near[place, nth]]
        touched = np.empty(size, dtype=np.int64)
        neighbour = np.empty(size, dtype=np.int64)
        entry_value = np.empty(size, dtype=np.float64)
        num_touched = 0
        for nth in range(k):
            if near[place, nth] >= 0:
                for entry in range(start[near[place, nth]], start[near[place, nth] + 1]):
                    row = row_of[entry]
                    if count[row] == 0:
                        touched[num_touched] = row
                        num_touched += 1
                    count[row] += 1
        total = 0
        for nth in range(num_touched):
            row = touched[nth]
            begin[row] = total
            total += count[row]
            count[row] = 0
        for nth in range(k):
            if near[place, nth] >= 0:
                for entry in range(start[near[place, nth]], start[near[place, nth] + 1]):
                    row = row_of[entry]
                    at = begin[row] + count[row]
                    neighbour[at], entry_value[at] = nth, value[entry]
                    count[row] += 1
        gram = grams[place]
        for nth in range(num_touched):
            row = touched[nth]
            for first in range(begin[row], begin[row] + count[row]):
                for second in range(begin[row], first + 1):
                    gram[neighbour[first], neighbour[second]] += entry_value[first] * entry_value[second]
            count[row] = 0
    return grams
