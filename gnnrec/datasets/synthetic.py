"""Made datasets whose truth is known: a planted cause to be found, and a log of realistic shape for measurements.

Letters: U users, I items, E rows, d dimensions of a feature, C clusters.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets.dataset import Dataset, SplitConfig
from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError

MODALITIES = ("text", "image", "audio")
TRAIN, VAL, TEST = range(3)


def planted(
    modality: str,
    num_users: int = 300,
    num_items: int = 200,
    seed: int = 0,
    *,
    num_clusters: int = 8,
    dim: int = 16,
    rows_per_user: int = 12,
    cold_share: float = 0.2,
    noise: float = 0.3,
) -> Dataset:
    """A set in which only `modality` (text, image or audio) decides what is liked.

    All three modalities look alike: C Gaussian clusters in d dimensions, each item at a centre plus `noise`. They are
    drawn independently, so that the clusters of the other two say nothing about a like. Each user likes the items of
    one cluster of `modality` and draws `rows_per_user` of them without repetition, as far as there are so many.

    A share of the items is cold: its rows are all in test, so that only content can rank them. Of the other rows of a
    user one is val and one is test. The split is the published one. Raises UserError for another modality.
    """
    if modality not in MODALITIES:
        raise UserError(f"planted: modality {modality!r}; allowed: {', '.join(MODALITIES)}")
    random = np.random.default_rng(seed)
    cluster = {name: random.integers(num_clusters, size=num_items) for name in MODALITIES}  # [I]
    features = {}
    for name in MODALITIES:
        centres = random.normal(size=(num_clusters, dim))
        features[name] = (centres[cluster[name]] + noise * random.normal(size=(num_items, dim))).astype(np.float32)
    cold = random.permutation(num_items) < cold_share * num_items  # [I]
    users, items, parts = [], [], []
    for user in range(num_users):
        liked = np.flatnonzero(cluster[modality] == random.integers(num_clusters))
        drawn = random.permutation(liked)[:rows_per_user]
        warm = np.flatnonzero(~cold[drawn])
        part = np.where(cold[drawn], TEST, TRAIN)
        if len(warm) >= 3:
            part[warm[0]], part[warm[1]] = VAL, TEST
        users.append(np.full(len(drawn), user))
        items.append(drawn)
        parts.append(part)
    return Dataset(
        name=f"planted-{modality}",
        root=Path(),
        user_ids=names("u", num_users),
        item_ids=names("i", num_items),
        interactions=Interactions(
            user=np.concatenate(users).astype(np.int32),
            item=np.concatenate(items).astype(np.int32),
            num_users=num_users,
            num_items=num_items,
        ),
        published_split=np.concatenate(parts).astype(np.int8),
        split=SplitConfig(method="published"),
        item_features=features,
    )


def powerlaw(num_users: int, num_items: int, num_interactions: int, seed: int = 0) -> Dataset:
    """A log whose items are Zipf-popular and whose users are lognormally active, with a timestamp a row, no content.

    Pairs are not repeated, so there may be a little fewer rows than asked for.
    Raises UserError where there are not enough pairs.
    """
    if num_interactions > num_users * num_items // 4:
        raise UserError(
            f"powerlaw: {num_interactions} interactions; allowed: a quarter of the {num_users * num_items} pairs"
        )
    random = np.random.default_rng(seed)
    activity = random.lognormal(sigma=1.0, size=num_users)
    popularity = random.permutation(1 / np.arange(1, num_items + 1) ** 0.8)
    drawn = num_interactions * 3 // 2  # repeated pairs are dropped below
    pairs = draw(activity, drawn, random) * num_items + draw(popularity, drawn, random)
    _, first = np.unique(pairs, return_index=True)
    pairs = pairs[np.sort(first)][:num_interactions]
    return Dataset(
        name="powerlaw",
        root=Path(),
        user_ids=names("u", num_users),
        item_ids=names("i", num_items),
        interactions=Interactions(
            user=(pairs // num_items).astype(np.int32),
            item=(pairs % num_items).astype(np.int32),
            num_users=num_users,
            num_items=num_items,
            timestamp=1_500_000_000 + np.sort(random.integers(0, 10**8, len(pairs))),
        ),
    )


def draw(weights: NDArray[np.float64], size: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Positions with probability in proportion to their weights, by inversion: `choice` is slow for millions."""
    return np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(size), side="right").clip(
        max=len(weights) - 1
    )


def names(prefix: str, number: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{position}" for position in range(number))
