"""Neighbours by importance: of each row those that short random walks from it come to most often (PinSage).

Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", section 3.1: a node's
neighbours are the T with the highest normalized visit counts of walks from it, and what they say is weighed by these.
A walk goes from a row to a column and on to another row that has it, begins again at its origin with probability
RESTART after each column, and counts the columns. So a neighbour need not have an edge with the row, but is near it.

Deviations. Walks are short and drawn anew for each piece, not once for a training: counts vary, so that close calls
fall on either side. What a row hears is its degree times the share of the visits: `SampledEdges.operator` then gives
the mean by visits for "mean" and, where all visits of a row are alike, the whole graph's weights for any normalization.
Otherwise it is not that operator on average, as it is of uniform draws, but leans to what is much visited, on purpose;
evaluation passes over all edges by their own weights all the same.

Letters: n rows, s kept neighbours, S steps of the walks of a row.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gnnrec.sampling.csr import CSR

Array = NDArray[Any]
RESTART = 0.5  # of PinSage's walks, as in graph.py
STEPS = 20  # of the walks of a row, for each neighbour that is kept: memory is that, whatever the graph's size
EMPTY = np.zeros(0, dtype=np.int64)


class Visited(NamedTuple):
    bounds: Array  # [n + 1] where the kept neighbours of each row begin
    columns: Array  # [s] of each row the most visited first, of equal counts the lower one
    counts: Array  # [s] visits
    degrees: Array  # [n] entries of each row

    def scale(self) -> Array:
        """The row's degree times the neighbour's share of the visits that its kept ones had. [s] float32"""
        kept = np.diff(self.bounds)
        total = np.add.reduceat(np.append(self.counts, 0), self.bounds[:-1]) if len(kept) else EMPTY
        of_row = self.degrees / np.maximum(total, 1)
        return (self.counts * np.repeat(of_row, kept)).astype(np.float32)


def visited_rows(
    csr: CSR, turned: CSR, rows: Array, keep: int, random: np.random.Generator, before: Array | None = None
) -> Visited:
    """The at most `keep` most visited columns of each of the rows [n]. turned: the same edges by columns.

    before: [n] with it, entries of that time and later do not exist for the walks of the row. It needs times.
    """
    if keep < 1:
        raise ValueError(f"sampling: found {keep} neighbours by importance; allowed: 1 or more")
    times = (EMPTY, EMPTY) if before is None else (csr.time, turned.time)
    if times[0] is None or times[1] is None:
        raise ValueError("sampling: `before` needs edges with times")
    limits = EMPTY if before is None else before
    parts = (csr.offsets, csr.columns, times[0], turned.offsets, turned.columns, times[1])
    return Visited(*_visited_rows(*parts, rows, limits, keep, STEPS * keep, RESTART, random))


@numba.njit(cache=True, nogil=True)
def _end(offsets: Array, time: Array, row: int, limits: Array, place: int) -> int:
    """Where the entries of a row end that a walk may take."""
    start, end = offsets[row], offsets[row + 1]
    return start + np.searchsorted(time[start:end], limits[place]) if len(limits) else end


@numba.njit(cache=True, nogil=True)
def _visited_rows(
    offsets: Array, columns: Array, time: Array, turned_offsets: Array, turned_columns: Array, turned_time: Array,
    rows: Array, limits: Array, keep: int, steps: int, restart: float, random: np.random.Generator,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    bounds, degrees = np.zeros(len(rows) + 1, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    kept, counts = np.empty(len(rows) * keep, dtype=np.int64), np.empty(len(rows) * keep, dtype=np.int64)
    walked = np.empty(steps, dtype=np.int64)
    for place in range(len(rows)):
        origin, first = rows[place], bounds[place]
        bounds[place + 1] = first
        degrees[place] = _end(offsets, time, origin, limits, place) - offsets[origin]
        if degrees[place] == 0:
            continue
        here = origin
        for step in range(steps):
            degree = _end(offsets, time, here, limits, place) - offsets[here]
            column = columns[offsets[here] + np.int64(random.random() * degree)]
            walked[step] = column
            here = origin
            if random.random() >= restart:
                degree = _end(turned_offsets, turned_time, column, limits, place) - turned_offsets[column]
                here = turned_columns[turned_offsets[column] + np.int64(random.random() * degree)]
        walked.sort()
        starts = np.append(0, np.flatnonzero(walked[1:] != walked[:-1]) + 1)
        visits = np.append(starts[1:], steps) - starts
        order = np.argsort(-visits, kind="mergesort")[:keep]
        for nth in range(len(order)):
            kept[first + nth], counts[first + nth] = walked[starts[order[nth]]], visits[order[nth]]
        bounds[place + 1] = first + len(order)
    return bounds, kept[: bounds[-1]].copy(), counts[: bounds[-1]].copy(), degrees
