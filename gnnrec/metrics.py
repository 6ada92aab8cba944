"""Pure functions over ranked lists. Accuracy: one value per user; beyond accuracy: what the lists are like.

Letters: n users, k length of the lists, I items, d dimensions. All relevance is binary.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gnnrec.scratch import blocks, empty, row_blocks
from gnnrec.vectors import unit_length

BLOCK_LISTS = 16_384  # whose vectors are summed at a time

Hits = NDArray[np.bool_]  # [n, >= k] is the item at this rank relevant, best rank first
PerUser = NDArray[np.float64]  # [n]
Counts = NDArray[np.int64]


def recall(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """Share of all relevant items in the first k. Divides by |relevant|, not by min(|relevant|, k)."""
    return hits[:, :k].sum(1) / num_relevant


def precision(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """Share of the first k places with a relevant item. Divides by k, also where fewer could be ranked."""
    return hits[:, :k].sum(1) / k


def hit_rate(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """1 where the first k hold a relevant item, else 0."""
    return np.where(hits[:, :k].any(1), 1.0, 0.0)


def ndcg(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """Gain 1/log2(rank + 1) of each hit over the gain of min(|relevant|, k) hits at the top.

    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques".
    """
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(gains)[np.minimum(num_relevant, k) - 1]
    found = hits[:, :k]
    return found @ gains[: found.shape[1]] / ideal


def average_precision(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """Precision at the rank of each hit, summed over the hits in the first k and divided by min(|relevant|, k)."""
    found = hits[:, :k]
    precisions = found.cumsum(1) / np.arange(1, found.shape[1] + 1)
    return (precisions * found).sum(1) / np.minimum(num_relevant, k)


def reciprocal_rank(hits: Hits, num_relevant: Counts, k: int) -> PerUser:
    """1 / rank of the first hit; 0 where the first k hold none."""
    found = hits[:, :k]
    return np.where(found.any(1), 1.0 / (found.argmax(1) + 1), 0.0)


METRICS: dict[str, Callable[[Hits, Counts, int], PerUser]] = {
    "recall": recall,
    "precision": precision,
    "hit": hit_rate,
    "ndcg": ndcg,
    "map": average_precision,
    "mrr": reciprocal_rank,
}


def hits_of(items: NDArray[np.int64], users: NDArray[np.int64], relevant: csr_array) -> Hits:
    """Which of the ranked items [n, k] (-1: no item) are relevant to their users [n]; relevant is users by items."""
    rows = relevant[users]
    num_items = relevant.shape[1]
    keys = np.repeat(np.arange(len(users)), np.diff(rows.indptr)) * num_items + rows.indices
    ranked = np.arange(len(users))[:, None] * num_items + items
    return np.isin(ranked, keys) & (items >= 0)


def accuracy(hits: Hits, num_relevant: Counts, ks: Sequence[int]) -> dict[str, PerUser]:
    """Every metric at every k ("ndcg@10" …), and "mrr". num_relevant [n] is at least 1.

    "mrr" is cut at the length of the list, which is the largest k, and not taken over the whole catalogue: a first hit
    further down counts 0.
    """
    values = {f"{name}@{k}": metric(hits, num_relevant, k) for name, metric in METRICS.items() for k in ks}
    return values | {"mrr": reciprocal_rank(hits, num_relevant, hits.shape[1])}


# Beyond accuracy: items [n, k] as in a Ranking (-1 where the list ends early), popularity [I] users in train per item.


def exposure(items: NDArray[np.int64], num_items: int) -> Counts:
    """How many lists each item is in. [I]"""
    return np.bincount(items[items >= 0], minlength=num_items)


def coverage(items: NDArray[np.int64], num_items: int) -> float:
    """Share of the catalogue that is in at least one list."""
    return float(np.count_nonzero(exposure(items, num_items)) / num_items)


def gini(items: NDArray[np.int64], num_items: int) -> float:
    """Inequality of exposure over the whole catalogue: 0 all items equally often, (I-1)/I one item only."""
    return gini_of(exposure(items, num_items))


def gini_of(counts: Counts) -> float:
    """The same of any counts [I]."""
    if not counts.sum():
        return 0.0
    weights = 2 * np.arange(1, len(counts) + 1) - len(counts) - 1
    return float(weights @ np.sort(counts) / (len(counts) * counts.sum()))


def novelty(items: NDArray[np.int64], popularity: Counts, num_users: int) -> PerUser:
    """Mean self-information -log2(share of users who have the item), in bits; an item nobody has counts as if one had.

    Vargas & Castells 2011, "Rank and relevance in novelty and diversity metrics", without rank discount.
    """
    return _mean_over_list(-np.log2(np.maximum(popularity, 1) / num_users), items)


def average_popularity(items: NDArray[np.int64], popularity: Counts) -> PerUser:
    """Mean number of users that the items of a list have in train."""
    return _mean_over_list(popularity.astype(np.float64), items)


def popularity_lift(items: NDArray[np.int64], users: NDArray[np.int64], train: csr_array) -> PerUser:
    """Mean popularity of the list over that of the user's own history, minus 1; NaN for a user without history.

    Abdollahpouri et al. 2020, "The connection between popularity bias, calibration, and fairness", per user.
    """
    popularity = np.bincount(train.indices, minlength=train.shape[1])
    length = np.diff(train.indptr)[users]
    total = (train @ popularity.astype(np.float64))[users]
    own = np.divide(total, length, out=np.full(len(users), np.nan), where=length > 0)
    return average_popularity(items, popularity) / own - 1


def diversity(items: NDArray[np.int64], vectors: NDArray[np.float32]) -> PerUser:
    """Mean cosine distance over the pairs of a list (intra-list diversity), from vectors [I, d].

    An item without a vector (all zeros) is left out; NaN where fewer than two are left.
    """
    unit = empty((len(vectors) + 1, vectors.shape[1]), vectors.dtype)
    unit[-1] = 0  # row -1: no item
    there = np.zeros(len(unit), dtype=bool)
    for rows in blocks(vectors):
        unit[rows] = unit_length(vectors[rows])
        there[rows] = (unit[rows] != 0).any(axis=1)
    values = np.empty(len(items))
    for rows in row_blocks(len(items), BLOCK_LISTS):
        values[rows] = _diversity(items[rows], unit, there)
    return values


def _diversity(items: NDArray[np.int64], unit: NDArray[np.float32], there: NDArray[np.bool_]) -> PerUser:
    num = there[items].sum(axis=1)  # [n] items with a vector
    # |sum of unit vectors|^2 = num + 2 * (cosines of all pairs), so no pair has to be formed.
    total = np.zeros((len(items), unit.shape[1]))
    for rank in range(items.shape[1]):
        total += unit[items[:, rank]]
    pairs = (num * (num - 1)).astype(np.float64)
    cosine = np.divide((total**2).sum(1) - num, pairs, out=np.full(len(items), np.nan), where=pairs > 0)
    return 1 - cosine


def _mean_over_list(value: NDArray[np.float64], items: NDArray[np.int64]) -> PerUser:
    """Mean of value [I] over each list; NaN for an empty one. [n]"""
    there = items >= 0
    total = np.where(there, value[items], 0.0).sum(1)
    num = there.sum(1)
    return np.divide(total, num, out=np.full(len(items), np.nan), where=num > 0)
