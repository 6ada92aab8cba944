"""Is one run better than another? Paired tests on the per-user values of one metric. Letter: n users."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError

PerUser = NDArray[np.float64]  # [n]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """first minus second, over the same users. All p-values are two-sided."""

    num_users: int
    difference: float  # mean over users
    interval: tuple[float, float]  # 95 %, paired bootstrap over users
    p_t: float  # paired t-test
    p_wilcoxon: float  # signed-rank, zero differences split (Pratt)
    p_randomisation: float  # paired randomisation test, which assumes the least


def compare(
    first: PerUser,
    second: PerUser,
    *,
    first_users: NDArray[np.int64],
    second_users: NDArray[np.int64],
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs by one metric. Raises UserError unless both were measured on the same users in the same order.

    The tests are those of Smucker, Allan & Carterette 2007, "A comparison of statistical significance tests for
    information retrieval evaluation". Where the runs are equal for every user, all p are 1.
    """
    if not np.array_equal(first_users, second_users):
        raise UserError(
            f"compare: the runs were measured on different users ({len(first_users)} and {len(second_users)}); "
            "evaluate both on the same split of the same dataset"
        )
    if not len(first) == len(second) == len(first_users):
        raise UserError(f"compare: {len(first)} and {len(second)} values for {len(first_users)} users")
    if len(first) < 2:
        raise UserError("compare: a paired test needs at least 2 users")
    difference = np.asarray(first, dtype=np.float64) - second
    means = _resampled_means(difference, resamples, seed)
    p_t, p_wilcoxon = _classical(difference)
    return Comparison(
        num_users=len(difference),
        difference=float(difference.mean()),
        interval=(float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))),
        p_t=p_t,
        p_wilcoxon=p_wilcoxon,
        p_randomisation=randomisation_test(difference, resamples, seed),
    )


def randomisation_test(difference: PerUser, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the mean difference [n] under random signs (Fisher's paired randomisation test).

    The observed signs count as one draw, so p is never 0.
    """
    random = np.random.default_rng(seed)
    observed = abs(difference.sum())
    moved = difference[difference != 0]
    # A tolerance, since sums of the same numbers in another sign order differ in the last bits.
    least = observed - 1e-9 * np.abs(moved).sum()
    extreme = 0
    for rows in _chunks(resamples, len(moved)):
        signs = random.integers(0, 2, size=(rows, len(moved)), dtype=np.int8)
        extreme += int(np.count_nonzero(np.abs((2 * signs - 1) @ moved) >= least))
    return (extreme + 1) / (resamples + 1)


def surest(differences: NDArray[np.float64], resamples: int = 10_000, seed: int = 0) -> tuple[int, float]:
    """Of several alternatives [A, n] the one whose gain over n users is the surest, and its p, two-sided.

    Sureness is the mean over the root mean square, which orders as the t statistic does. p counts how often the surest
    of all under random signs is as sure (the max-T test, Westfall & Young 1993): to have chosen is paid for. Signs are
    drawn once for each user and all alternatives.
    """
    scale = np.sqrt(np.square(differences).sum(axis=1, keepdims=True))
    unit = np.divide(differences, scale, out=np.zeros_like(differences), where=scale > 0)
    unit = unit[:, unit.any(axis=0)]  # [A, moved]
    observed = unit.sum(axis=1)  # [A]
    best = int(observed.argmax())
    random, extreme = np.random.default_rng(seed), 0
    for rows in _chunks(resamples, unit.shape[1]):
        signs = 2 * random.integers(0, 2, size=(rows, unit.shape[1]), dtype=np.int8) - 1
        extreme += int(np.count_nonzero(np.abs(signs @ unit.T).max(axis=1) >= observed[best] - 1e-9))
    return best, (extreme + 1) / (resamples + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """p-values of several comparisons, corrected so that all hold together (Holm 1979); order of the keys is kept."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _classical(difference: PerUser) -> tuple[float, float]:
    """p of the paired t-test and of the Wilcoxon signed-rank test."""
    from scipy import stats  # 0.3 s to import

    if not difference.any():
        return 1.0, 1.0
    if np.ptp(difference) == 0:  # no variance: the t statistic is infinite
        p_t = 0.0
    else:
        p_t = float(stats.ttest_1samp(difference, 0.0).pvalue)
    return p_t, float(stats.wilcoxon(difference, zero_method="pratt").pvalue)


def _resampled_means(difference: PerUser, resamples: int, seed: int) -> PerUser:
    """Means of the differences of users drawn with replacement. [resamples]"""
    random = np.random.default_rng(seed)
    num_users = len(difference)
    draws = [
        difference[random.integers(num_users, size=(rows, num_users))].mean(axis=1)
        for rows in _chunks(resamples, num_users)
    ]
    return np.concatenate(draws)


def _chunks(resamples: int, width: int) -> list[int]:
    """Row counts that add up to `resamples`, each at most 4 million cells."""
    rows = max(1, 4_000_000 // max(width, 1))
    return [min(rows, resamples - start) for start in range(0, resamples, rows)]
