"""The items of the highest inner products: exact up to export.FLAT_LIMIT items, by a FAISS index above.

Letters: I items, d dimensions, B queries.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnnrec.export import FLAT_LIMIT, build_index

Best = list[tuple[int, float]]
"""Item indexes and scores, the best first."""


class Nearest:
    def __init__(self, vectors: NDArray[np.float32], flat_limit: int = FLAT_LIMIT) -> None:
        """vectors [I, d]. Raises UserError where FAISS is needed and not installed."""
        self.vectors = vectors
        self.index = build_index(vectors, flat_limit) if len(vectors) > flat_limit else None

    def best(
        self, queries: NDArray[np.float32], hidden: Sequence[NDArray[np.int32]], sizes: Sequence[int]
    ) -> list[Best]:
        """For each query [B, d] the `sizes` best items that are not among its `hidden` ones.

        Of equal scores the lowest index is first.
        """
        wide = max(len(items) + size for items, size in zip(hidden, sizes))
        items, scores = self._search(queries, min(wide, len(self.vectors)))
        answers = []
        for row, values, gone, size in zip(items, scores, hidden, sizes):
            shown = np.flatnonzero(~np.isin(row, gone) & (row >= 0))[:size]  # FAISS fills up with -1
            answers.append(list(zip(row[shown].tolist(), values[shown].tolist())))
        return answers

    def _search(self, queries: NDArray[np.float32], wide: int) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """Items and scores [B, wide], the best first."""
        if self.index is not None:
            values, found = self.index.search(queries, wide)
            return found, values
        scores = queries @ self.vectors.T  # [B, I]
        items = np.argpartition(scores, -wide, axis=1)[:, -wide:] if wide < scores.shape[1] else None
        if items is None:
            items = np.broadcast_to(np.arange(wide), scores.shape)
        values = np.take_along_axis(scores, items, axis=1)
        order = np.lexsort((items, -values))
        return np.take_along_axis(items, order, axis=1), np.take_along_axis(values, order, axis=1)
