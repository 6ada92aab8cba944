"""Sampled neighbours: of each row of a CSR some entries, uniformly without replacement, and short names for nodes.

Compiled by numba. A row is drawn by Floyd's algorithm (Bentley & Floyd 1987): as many random numbers as entries are
kept, whatever the row's length. With times a row ends where its limit begins, so that nothing later is ever drawn.

Letters: n rows that are sampled, s entries that are kept, N nodes of a type.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gnnrec.sampling.csr import CSR

Array = NDArray[Any]
EMPTY = np.zeros(0, dtype=np.int64)


class Sampled(NamedTuple):
    bounds: Array  # [n + 1] where the kept entries of each row begin
    entries: Array  # [s] positions in the columns of the CSR
    degrees: Array  # [n] how many entries each row could have given

    def scale(self) -> Array:
        """1 / probability of each kept entry, so that sums over them are right on average. [s] float32"""
        kept = np.diff(self.bounds)
        return np.repeat((self.degrees / np.maximum(kept, 1)).astype(np.float32), kept)


def sample_rows(
    csr: CSR, rows: Array, fanout: int, random: np.random.Generator, before: Array | None = None
) -> Sampled:
    """At most `fanout` entries of each of the rows [n], all of them alike and none twice; 0 takes every entry.

    before: [n] with it, entries of that time and later do not exist for the row. It needs a CSR with times.
    """
    if before is None:
        return Sampled(*_sample_rows(csr.offsets, EMPTY, rows, EMPTY, fanout, random))
    if csr.time is None:
        raise ValueError("sampling: `before` needs edges with times")
    return Sampled(*_sample_rows(csr.offsets, csr.time, rows, before, fanout, random))


@numba.njit(cache=True, nogil=True)
def _sample_rows(
    offsets: Array, time: Array, rows: Array, before: Array, fanout: int, random: np.random.Generator
) -> tuple[Array, Array, Array]:
    degrees = np.empty(len(rows), dtype=np.int64)
    bounds = np.zeros(len(rows) + 1, dtype=np.int64)
    for place in range(len(rows)):
        start, end = offsets[rows[place]], offsets[rows[place] + 1]
        if len(before):
            end = start + np.searchsorted(time[start:end], before[place])
        degrees[place] = end - start
        kept = degrees[place] if fanout == 0 else min(degrees[place], fanout)
        bounds[place + 1] = bounds[place] + kept
    entries = np.empty(bounds[-1], dtype=np.int64)
    for place in range(len(rows)):
        start, first, degree = np.int64(offsets[rows[place]]), bounds[place], degrees[place]
        kept = bounds[place + 1] - first
        if kept == degree:
            for nth in range(kept):
                entries[first + nth] = start + nth
            continue
        for nth in range(kept):
            last = degree - kept + nth
            drawn = start + np.int64(random.random() * (last + 1))
            for earlier in range(first, first + nth):
                if entries[earlier] == drawn:
                    drawn = start + last  # cannot have been drawn before
                    break
            entries[first + nth] = drawn
    return bounds, entries, degrees


def degrees_before(csr: CSR, rows: Array, limit: int) -> Array:
    """How many entries of each row [n] are earlier than `limit`. [n] float32"""
    if csr.time is None:
        raise ValueError("sampling: `limit` needs edges with times")
    return _degrees_before(csr.offsets, csr.time, rows, limit)


@numba.njit(cache=True, nogil=True)
def _degrees_before(offsets: Array, time: Array, rows: Array, limit: int) -> Array:
    degrees = np.empty(len(rows), dtype=np.float32)
    for place in range(len(rows)):
        start, end = offsets[rows[place]], offsets[rows[place] + 1]
        degrees[place] = np.searchsorted(time[start:end], limit)
    return degrees


class LocalNodes:
    """Short names for the nodes of one type: 0, 1, … in the order in which they are met."""

    def __init__(self, num_nodes: int) -> None:
        self.place = np.full(num_nodes, -1, dtype=np.int32)  # [N]
        self.met: list[Array] = []
        self.count = 0

    def add(self, nodes: Array) -> Array:
        """Short names [n] of nodes [n]; those met for the first time get the next ones."""
        local, new = _add(nodes, self.place, self.count)
        self.met.append(new)
        self.count += len(new)
        return local

    def nodes(self) -> Array:
        """The nodes by their short names. [count] int64"""
        return np.concatenate(self.met) if self.met else EMPTY

    def forget(self) -> None:
        """Ready for another sample, at the cost of this one alone."""
        self.place[self.nodes()] = -1
        self.met, self.count = [], 0


@numba.njit(cache=True, nogil=True)
def _add(nodes: Array, place: Array, count: int) -> tuple[Array, Array]:
    local = np.empty(len(nodes), dtype=np.int32)
    new = np.empty(len(nodes), dtype=np.int64)
    num_new = 0
    for at in range(len(nodes)):
        node = nodes[at]
        name = place[node]
        if name < 0:
            name = count + num_new
            place[node] = name
            new[num_new] = node
            num_new += 1
        local[at] = name
    return local, new[:num_new].copy()
