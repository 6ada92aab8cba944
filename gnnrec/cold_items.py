"""Cold items by folds: a fold's rows leave everything a scorer may know, and its items are ranked among themselves.

Letters: U users, I items, n users with a row of a cold item.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets import Interactions, Split
from gnnrec.evaluation import evaluate_ranking
from gnnrec.ranking import Scorer

FOLDS = 5


def folds_of(num_items: int, num_folds: int = FOLDS, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each item, dealt by lot, all of one size. [I]"""
    return np.random.default_rng(seed).permutation(num_items) % num_folds


def without_items(parts: Split, gone: NDArray[np.bool_]) -> Split:
    """Train and validation without the rows of some items [I]; the test part is empty."""
    train, val = (log.rows(~gone[log.item]) for log in (parts.train, parts.val))
    return Split(train, val, val.rows(np.zeros(len(val), dtype=bool)))


def cold_values(
    log: Interactions,
    parts: Split,
    scorer_of: Callable[[Split], Scorer],
    *,
    metrics: Sequence[str] = ("ndcg@10",),
    folds: NDArray[np.int64],
    used: Sequence[int] = tuple(range(FOLDS)),
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """The users [n] with a row of a cold item in `log`, and each one's mean of the metrics over the `used` folds.

    `scorer_of` gets the split without the fold's rows. What a user took of the fold, in any part of `log`, is relevant.
    """
    sums, times = {name: np.zeros(log.num_users) for name in metrics}, np.zeros(log.num_users)
    for fold in used:
        cold = folds == fold
        left = without_items(parts, cold)
        found = evaluate_ranking(
            scorer_of(left),
            relevant=log.rows(cold[log.item]),
            train=left.train,
            seen=None,
            candidates=cold,
            resamples=0,
        )
        times[found.users] += 1
        for name in metrics:
            sums[name][found.users] += found.per_user[name]
    users = np.flatnonzero(times)
    return users, {name: total[users] / times[users] for name, total in sums.items()}
