"""Which modalities agree: CKA, common neighbours and canonical correlations of the items that have both.

All three are the same however a space is turned or shifted; none sees what an item's users did.

Letters: n items, p and q dimensions of the two modalities, k neighbours.
"""

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.alignment import fit_cca
from gnnrec.encoders.features import Features
from gnnrec.evaluation import bootstrap
from gnnrec.progress import progress
from gnnrec.vectors import unit_length

LEAST_ITEMS = 30  # that two modalities have to share
MOST_ITEMS = 5_000  # that are looked at; of more a sample is drawn
NEIGHBORS = 10
HALVES = 20  # random halves of the items that the interval of CKA rests on
SPLITS = 10  # random halves for the canonical correlations
CANONICAL = 3  # how many of them are told
NORMAL = 1.96  # standard errors on each side of a 95 % interval

Rows = NDArray[np.floating]
Interval = list[float]


def agreement(
    features: Mapping[str, Features], seed: int = 0, say: Callable[[str], None] = lambda line: None
) -> list[dict[str, Any]]:
    """A row for every two modalities that share LEAST_ITEMS items."""
    rows = []
    for first, second in progress([*combinations(sorted(features), 2)], text="agreement", unit="pair"):
        items = shared_items(features, (first, second), seed)
        if len(items) < LEAST_ITEMS:
            say(f"{first} and {second}: only {len(items)} items have both, at least {LEAST_ITEMS} are needed: left out")
            continue
        x, y = (np.asarray(features[name].values[items], dtype=np.float64) for name in (first, second))
        near, near_interval = neighbour_overlap(x, y)
        value, value_interval = cka_with_interval(x, y, seed)
        correlations, correlation_interval = canonical_correlations(x, y, seed)
        rows.append(
            {
                "first": first,
                "second": second,
                "items": len(items),
                "cka": value,
                "cka_interval": value_interval,
                "knn_overlap": near,
                "knn_interval": near_interval,
                "knn_chance": min(NEIGHBORS, len(x) - 1) / (len(x) - 1),
                "canonical": correlations,
                "canonical_interval": correlation_interval,
            }
        )
    return rows


def shared_items(features: Mapping[str, Features], names: tuple[str, ...], seed: int) -> NDArray[np.int64]:
    """The items that have all these modalities, at most MOST_ITEMS of them, drawn at random."""
    items = np.flatnonzero(np.all([features[name].mask for name in names], axis=0))
    if len(items) > MOST_ITEMS:
        items = np.sort(np.random.default_rng(seed).choice(items, MOST_ITEMS, replace=False))
    return items


def cka(x: Rows, y: Rows) -> float:
    """Linear CKA (Kornblith et al. 2019, eq. 4) of [n, p] and [n, q] from unbiased estimates of HSIC (Song et al. 2012,
    eq. 5), so that independent features give about 0 however many dimensions they have. 0 where one is constant."""
    x, y = x - x.mean(0), y - y.mean(0)
    own = _hsic(x, x) * _hsic(y, y)
    return float(_hsic(x, y) / np.sqrt(own)) if own > 0 else 0.0


def _hsic(x: Rows, y: Rows) -> float:
    """n (n - 3) HSIC of linear kernels with empty diagonals, from the features: no [n, n] matrix is made."""
    n = len(x)
    own_x, own_y = (x**2).sum(1), (y**2).sum(1)  # the diagonals
    sums_x, sums_y = x @ x.sum(0) - own_x, y @ y.sum(0) - own_y  # rows of the kernels without them
    trace = ((x.T @ y) ** 2).sum() - own_x @ own_y
    return float(trace + sums_x.sum() * sums_y.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (sums_x @ sums_y))


def cka_with_interval(x: Rows, y: Rows, seed: int = 0) -> tuple[float, Interval]:
    """CKA and 95 %: the spread over halves of the items about the whole is that of the whole about the truth (the
    delete-half jackknife, Shao & Wu 1989). Items drawn twice, as by the bootstrap, would agree with themselves."""
    random, whole = np.random.default_rng(seed), cka(x, y)
    halves = [random.permutation(len(x))[: len(x) // 2] for _ in range(HALVES)]
    error = float(np.sqrt(np.mean([(cka(x[half], y[half]) - whole) ** 2 for half in halves])))
    return whole, [whole - NORMAL * error, whole + NORMAL * error]


def neighbour_overlap(x: Rows, y: Rows, k: int = NEIGHBORS) -> tuple[float, Interval]:
    """Mean share of an item's k nearest by cosine that are the same in both spaces; 95 % by bootstrap over items."""
    k = min(k, len(x) - 1)
    first, second = _nearest(x, k), _nearest(y, k)
    shares = np.array([len(np.intersect1d(*pair, assume_unique=True)) / k for pair in zip(first, second)])
    return float(shares.mean()), bootstrap({"share": shares})["share"]


def _nearest(x: Rows, k: int) -> NDArray[np.int64]:
    unit = unit_length(x - x.mean(0))
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    return np.argpartition(-cosine, k - 1, axis=1)[:, :k]


def canonical_correlations(x: Rows, y: Rows, seed: int = 0) -> tuple[list[float], Interval]:
    """The first CANONICAL ones, found on one half of the items and measured on the other, mean over SPLITS.

    On the rows of the fit they would be near 1 by themselves. The interval is that of the first one over the splits.
    """
    random, found = np.random.default_rng(seed), []
    for _ in range(SPLITS):
        fit, other = np.array_split(random.permutation(len(x)), 2)
        found.append(fit_cca(x[fit], y[fit], components=CANONICAL).correlate(x[other], y[other]))
    values = np.array(found)  # [SPLITS, at most CANONICAL]
    mean, error = values.mean(0), float(values[:, 0].std(ddof=1))
    return mean.tolist(), [float(mean[0]) - NORMAL * error, float(mean[0]) + NORMAL * error]
