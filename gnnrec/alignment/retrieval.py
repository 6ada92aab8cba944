"""Cross-modal retrieval: given one side of an item, find its other side among those of all items asked about.

Letters: n items, d dimensions.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.vectors import unit_length

KS = (1, 10)
DIGITS = 9  # to which cosines are compared: what is equal in exact arithmetic may differ in the last bits
BLOCK = 2048

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Expected values under a random order of ties, by query."""

    per_query: dict[str, Matrix]  # "r@1", "r@10", "mrr" -> [n]

    @property
    def metrics(self) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in self.per_query.items()}


def retrieve(queries: NDArray[np.floating], candidates: NDArray[np.floating]) -> Retrieval:
    """Rank all n candidates for each of n queries by cosine; row r of both is the same item. Rows of zeros tie."""
    better, tied = [], []
    first, second = (unit_length(np.asarray(side, dtype=np.float64)) for side in (queries, candidates))
    for begin, end in pairwise([*range(0, len(first), BLOCK), len(first)]):
        scores = np.round(first[begin:end] @ second.T, DIGITS)
        own = scores[np.arange(end - begin), np.arange(begin, end)][:, None]
        better.append((scores > own).sum(1))
        tied.append((scores == own).sum(1))  # itself included
    return Retrieval(per_query=_expected(np.concatenate(better), np.concatenate(tied)))


def chance(n: int) -> dict[str, float]:
    """The same metrics of a random order of n candidates."""
    return Retrieval(per_query=_expected(np.zeros(1, int), np.array([n]))).metrics


def _expected(better: NDArray[Any], tied: NDArray[Any]) -> dict[str, Matrix]:
    """The right candidate has each of the ranks better + 1 … better + tied with the same probability."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, (better + tied).max() + 1))])
    values = {f"r@{k}": np.clip(k - better, 0, tied) / tied for k in KS}
    return values | {"mrr": (harmonic[better + tied] - harmonic[better]) / tied}
