"""Which modalities predict co-consumption: are things that one user took more alike than things of different users?

A pair is two items of one user's training rows. What it is held against are the same items paired anew: the second
ones are permuted over all pairs, so that both kinds hold every item equally often, and popularity tells nothing.

Letters: n pairs of both kinds, U users, M modalities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.datasets import Interactions
from gnnrec.encoders.features import Features, mean_and_scale

MOST_PAIRS = 20_000  # taken together
LEAST_PAIRS = 100
RESAMPLES = 300  # for an interval

Scores = NDArray[np.float64]  # [n]


@dataclass(frozen=True, slots=True)
class Pairs:
    first: NDArray[np.int64]  # [n] items
    second: NDArray[np.int64]
    together: NDArray[np.bool_]  # whether one user took both
    user: NDArray[np.int64]  # who took the first one

    def only(self, rows: NDArray[np.bool_]) -> "Pairs":
        return Pairs(self.first[rows], self.second[rows], self.together[rows], self.user[rows])


def co_consumption(
    features: Mapping[str, Features],
    train: Interactions,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """A row for each modality: AUC of its similarity alone and what it adds to all others; 95 % over users and items.

    `gain`: by how much a logistic regression on the similarities of all modalities, fitted on half of the users, orders
    the pairs of the other half better than one without this modality (AUC; pairs of items that have all of them).
    """
    random = np.random.default_rng(seed)
    pairs, names = draw_pairs(train, random), sorted(features)
    there = {name: features[name].mask[pairs.first] & features[name].mask[pairs.second] for name in names}
    alike = {name: similarity(features[name], pairs) for name in names}
    rows = []
    complete = np.all([there[name] for name in names], axis=0) if names else np.zeros(0, bool)
    gains = partial_gains({name: alike[name][complete] for name in names}, pairs.only(complete), random)
    for name in names:
        own = pairs.only(there[name])
        if own.together.sum() < LEAST_PAIRS:
            say(f"{name}: only {own.together.sum()} pairs taken together have it, {LEAST_PAIRS} are needed: left out")
            continue
        value, interval = with_interval([alike[name][there[name]]], own, random)
        rows.append(
            {
                "modality": name,
                "pairs": int(own.together.sum()),
                "users": len(np.unique(own.user)),
                "auc": value,
                "auc_interval": interval,
                "gain": None,
                "gain_interval": None,
            }
            | gains.get(name, {})
        )
    return rows


def draw_pairs(train: Interactions, random: np.random.Generator) -> Pairs:
    """As many pairs of every user who took two things, MOST_PAIRS at most in all, and the same items paired anew.

    New pairs of an item with itself, or of two things of the same user after all, are left out.
    """
    log = train.matrix()
    taken = np.diff(log.indptr)
    users = np.flatnonzero(taken >= 2)
    user = np.repeat(users, max(1, MOST_PAIRS // max(len(users), 1)))
    place = (random.random(len(user)) * taken[user]).astype(np.int64)
    other = (random.random(len(user)) * (taken[user] - 1)).astype(np.int64)
    other += other >= place
    first, second = (log.indices[log.indptr[user] + position].astype(np.int64) for position in (place, other))
    anew = random.permutation(len(user))
    own = np.repeat(np.arange(log.shape[0]), taken) * log.shape[1] + log.indices  # what each user has, as one number
    fair = (first != second[anew]) & ~np.isin(user * log.shape[1] + second[anew], own)
    return Pairs(
        first=np.concatenate([first, first[fair]]),
        second=np.concatenate([second, second[anew][fair]]),
        together=np.arange(len(first) + fair.sum()) < len(first),
        user=np.concatenate([user, user[fair]]),
    )


def similarity(features: Features, pairs: Pairs) -> Scores:
    """Cosine of standardized features, as along the graph's similar edges; of no meaning where one has no content."""
    values = torch.from_numpy(features.values)
    mean, scale = mean_and_scale(values[torch.from_numpy(features.mask)]) if features.mask.any() else (0.0, 1.0)
    unit = torch.nn.functional.normalize(((values - mean) / scale).double(), dim=1).numpy()
    return np.einsum("nd,nd->n", unit[pairs.first], unit[pairs.second])


def partial_gains(alike: Mapping[str, Scores], pairs: Pairs, random: np.random.Generator) -> dict[str, dict[str, Any]]:
    """`gain` and its interval by modality; empty for one modality, and where too few pairs have all of them."""
    if len(alike) < 2 or pairs.together.sum() < 2 * LEAST_PAIRS:
        return {}
    users = np.unique(pairs.user)
    fit = np.isin(pairs.user, random.permutation(users)[: len(users) // 2])
    held = pairs.only(~fit)
    whole = _regression(list(alike.values()), pairs.together, fit)
    gains = {}
    for name in alike:
        without = _regression([scores for other, scores in alike.items() if other != name], pairs.together, fit)
        value, interval = with_interval([whole, without], held, random)
        gains[name] = {"gain": value, "gain_interval": interval}
    return gains


def _regression(columns: Sequence[Scores], together: NDArray[np.bool_], fit: NDArray[np.bool_]) -> Scores:
    """Log odds of the pairs that were not fitted on."""
    from sklearn.linear_model import LogisticRegression  # half a second to import
    from sklearn.preprocessing import StandardScaler

    x = np.stack(columns, axis=1)  # [n, M]
    scaler = StandardScaler().fit(x[fit])
    model = LogisticRegression().fit(scaler.transform(x[fit]), together[fit])
    return np.asarray(model.decision_function(scaler.transform(x[~fit])))


def with_interval(scores: Sequence[Scores], pairs: Pairs, random: np.random.Generator) -> tuple[float, list[float]]:
    """AUC of the first scores, less that of the second ones where there are two, and its 95 %.

    Users and items are both drawn again, a pair weighing the product of its three draws (the pigeonhole bootstrap, Owen
    2007): other users would take other pairs, and other items would look otherwise.
    """
    users, owner = np.unique(pairs.user, return_inverse=True)
    items, places = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    first, second = np.split(places, 2)
    ranks = [np.unique(column, return_inverse=True)[1] for column in scores]

    def value(weight: Scores) -> float:
        found = [weighted_auc(rank, pairs.together, weight) for rank in ranks]
        return found[0] - sum(found[1:])

    def draw(size: int) -> NDArray[np.int64]:
        return np.bincount(random.integers(size, size=size), minlength=size)

    drawn = []
    for _ in range(RESAMPLES):
        times = draw(len(items))
        drawn.append(value((draw(len(users))[owner] * times[first] * times[second]).astype(float)))
    return value(np.ones(len(pairs.user))), np.quantile(drawn, (0.025, 0.975)).tolist()


def weighted_auc(rank: NDArray[np.int64], positive: NDArray[np.bool_], weight: Scores) -> float:
    """How often a positive stands above a negative, ties as half. Ranks [n] from 0, equal for equal scores."""
    above = np.bincount(rank, weight * positive)
    below = np.bincount(rank, weight * ~positive)
    return float(above @ (np.cumsum(below) - below / 2) / max(above.sum() * below.sum(), 1e-12))
