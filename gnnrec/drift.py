"""How what came lately differs from what was there: popularity of items, and features.

Every figure stands beside what chance alone would give for so few rows. Letters: I items, n rows, d dimensions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

GROUPS = 10  # of items, by popularity, that share the old rows about equally
DRAWS, SEED = 50, 0
LEAST = 1e-4  # share that stands for none in the stability index


def popularity_drift(before: NDArray[np.int64], after: NDArray[np.int64]) -> dict[str, Any]:
    """Counts of rows by item [I], before and after; items that had none before are new ones.

    jensen_shannon: divergence of the two distributions over items in bits, 0 (the same) to 1 (nothing in common).
    psi: population stability index over GROUPS of items by old popularity and one of new items, sum (q - p) ln(q / p);
    by custom above 0.25 is a shift. by_chance: what as many rows drawn from the old distribution give in 95 of 100
    draws.
    """
    old = before / before.sum()
    group = _groups(before)
    random, new = np.random.default_rng(SEED), after / after.sum()
    chance = []
    for _ in range(DRAWS):
        drawn = random.multinomial(after.sum(), old) / after.sum()
        chance.append((jensen_shannon(old, drawn), psi(old, drawn, group)))
    by_chance = np.quantile(chance, 0.95, axis=0)
    return {
        "jensen_shannon": jensen_shannon(old, new),
        "jensen_shannon_by_chance": float(by_chance[0]),
        "psi": psi(old, new, group),
        "psi_by_chance": float(by_chance[1]),
    }


def jensen_shannon(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Of two distributions over items [I], in bits (Lin 1991)."""
    middle = (first + second) / 2
    return float((rel_entr(first, middle) + rel_entr(second, middle)).sum() / 2 / np.log(2))


def psi(first: NDArray[np.float64], second: NDArray[np.float64], group: NDArray[np.int64]) -> float:
    """Population stability index over groups of items [I]."""
    p, q = (np.maximum(np.bincount(group, one, GROUPS + 1), LEAST) for one in (first, second))
    return float(((q - p) * np.log(q / p)).sum())


def feature_drift(before: NDArray[np.float32], after: NDArray[np.float32]) -> dict[str, float]:
    """Features of the items there were [n, d] and of the new ones [m, d].

    mean_shift: root mean square over the dimensions of the shift of the mean, in standard deviations of the old items;
    by_chance: what it would be if the new ones were drawn from the old.
    """
    scale = np.maximum(before.std(axis=0), 1e-9)
    shift = (after.mean(axis=0) - before.mean(axis=0)) / scale
    return {
        "items": len(after),
        "mean_shift": float(np.sqrt(np.mean(shift**2))),
        "by_chance": float(np.sqrt(1 / len(after) + 1 / len(before))),
    }


def _groups(before: NDArray[np.int64]) -> NDArray[np.int64]:
    """The group of each item [I]: 0 the most popular; GROUPS those without a row."""
    order = np.argsort(-before, kind="stable")
    above = np.empty(len(before))
    above[order] = (np.cumsum(before[order]) - before[order]) / before.sum()
    return np.where(before > 0, np.minimum((above * GROUPS).astype(np.int64), GROUPS - 1), GROUPS)
