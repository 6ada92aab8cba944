"""A log without the rows that false profiles could be behind.

A share of the users may be false and push an item. An item that so many users and seven times as many true ones at
most have is one on which they would weigh: of its rows those are left out of training that its content does not speak
for. A row stands if the item is nearer to the rest of the user's items than to the items of nine in ten of all users.
Fillers that are drawn at random, by popularity or among the best known items pass this by chance only; fillers that
are alike to the pushed item in content would pass. Besides, of a user with very many items a part is drawn (degree
clipping), so that no profile weighs more than the largest true ones. Items without content keep no such rows.

Letters: E rows, U users, I items, w features.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets.interactions import Interactions
from gnnrec.encoders.features import Features

RARE = 8  # times the false users: an item that no more have is one on which they would weigh
WITHIN = 0.9  # of all users are less alike to the item
MOST = 0.99  # quantile of the users' numbers of items: the degree at which they are clipped


def trusted_rows(log: Interactions, features: Mapping[str, Features], share: float, seed: int = 0) -> Interactions:
    """The rows that are learnt from, if `share` of the users may be false."""
    keep = within_degree(log, seed)
    count = np.bincount(log.item, minlength=log.num_items)
    num_users = int((np.bincount(log.user, minlength=log.num_users) > 0).sum())
    rare = np.flatnonzero((count > 0) & (count <= RARE * math.ceil(share * num_users)))
    content = unit_content(features, log.num_items)
    profiles = log.matrix() @ content  # [U, w]
    users = unit(profiles)
    for item in rare:
        rows = np.flatnonzero(log.item == item)
        alike = users @ content[item]  # [U]
        own = unit(profiles[log.user[rows]] - content[item]) @ content[item]  # the item itself left out
        keep[rows] &= (own > np.quantile(alike, WITHIN)) & bool(content[item].any())
    return log.rows(keep)


def within_degree(log: Interactions, seed: int) -> NDArray[np.bool_]:
    """Which rows stay where every user has at most as many as 99 in 100 users have. [E]"""
    count = np.bincount(log.user, minlength=log.num_users)
    most = int(np.ceil(np.quantile(count[count > 0], MOST))) if len(log) else 0
    drawn = np.random.default_rng(seed).permutation(len(log))
    order = drawn[np.argsort(log.user[drawn], kind="stable")]
    place = np.empty(len(log), dtype=np.int64)
    place[order] = np.arange(len(log)) - (count.cumsum() - count)[log.user[order]]
    return place < most


def unit_content(features: Mapping[str, Features], num_items: int) -> NDArray[np.float64]:
    """Features of all modalities side by side, standardized, each modality of length one; zeros for missing. [I, w]"""
    blocks = [np.zeros((num_items, 1))]
    for content in features.values():
        values = np.where(content.mask[:, None], content.values.astype(np.float64), 0.0)
        if content.mask.any():
            known = values[content.mask]
            values[content.mask] = (known - known.mean(0)) / np.maximum(known.std(0), 1e-12)
        blocks.append(unit(values))
    return np.concatenate(blocks, axis=1)


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
