"""The items of the highest inner products: exact up to export.FLAT_LIMIT items, by a FAISS index above.

Letters: I items, d dimensions, B queries.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.export import FLAT_LIMIT, build_index
from gnnrec.vectors import unit_length

BLOCK = 32  # items that one maximum stands for
Rows = Sequence[NDArray[Any]]

Best = list[tuple[int, float]]
"""Item indexes and scores, the best first."""


class Nearest:
    def __init__(self, vectors: NDArray[np.float32], flat_limit: int | None = None) -> None:
        """vectors [I, d]. flat_limit: FLAT_LIMIT if None. Raises UserError where FAISS is needed and not installed."""
        self.vectors = vectors
        limit = FLAT_LIMIT if flat_limit is None else flat_limit
        self.index = build_index(vectors, limit) if len(vectors) > limit else None

    def best(
        self, queries: NDArray[np.float32], hidden: Sequence[NDArray[np.int32]], sizes: Sequence[int]
    ) -> list[Best]:
        """For each query [B, d] the `sizes` best items that are not among its `hidden` ones.

        Of equal scores the lowest index is first.
        """
        wide = min(max(len(items) + size for items, size in zip(hidden, sizes)), len(self.vectors))
        answers = []
        for items, values, gone, size in zip(*self._search(queries, wide), hidden, sizes):
            shown = np.flatnonzero(~np.isin(items, gone) & (items >= 0))[:size]  # FAISS fills up with -1
            answers.append(list(zip(items[shown].tolist(), values[shown].tolist())))
        return answers

    def _search(self, queries: NDArray[np.float32], wide: int) -> tuple[Rows, Rows]:
        """Items and scores of each query, `wide` of them, the best first."""
        if self.index is not None:
            values, items = self.index.search(queries, wide)
            return items, values
        scores = queries @ self.vectors.T  # [B, I]
        found = [np.flatnonzero(row >= least) for row, least in zip(scores, lower_bound(scores, wide))]
        best = [items[np.lexsort((items, -row[items]))[:wide]] for row, items in zip(scores, found)]
        return best, [row[items] for row, items in zip(scores, best)]


def needs_index(num_items: int) -> bool:
    return num_items > FLAT_LIMIT


def lower_bound(scores: NDArray[np.float32], wide: int) -> NDArray[np.float32]:
    """What `wide` scores of each row [B, I] reach for sure: that many maxima of blocks of items do, which is near the
    true bound and several times quicker to find. [B]"""
    width = scores.shape[1] // BLOCK
    if width >= wide:
        # Block b holds columns b, b + width, …: whole vectors are compared at once.
        scores = scores[:, : BLOCK * width].reshape(len(scores), BLOCK, width).max(axis=1)
    return np.partition(scores, -wide, axis=1)[:, -wide]


def alike(vectors: NDArray[np.float32]) -> list[list[int]]:
    """Cosines in hundredths of each row to the rows before it, as maximal marginal relevance needs them."""
    unit = unit_length(vectors)
    hundredths = np.rint(100 * unit @ unit.T).astype(int)
    return [row[:place].tolist() for place, row in enumerate(hundredths)]
