"""Importance by visits: the items that random walks from an item come to most often (PinSage).

Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", section 3.1: a node's
neighbours are the T with the highest normalized visit count of walks from it. As in Pixie (Eksombatchai et al. 2018) a
step goes from an item to a user who had it and on to an item of hers, and each walk has a geometric length.

Letters: I items, U users, B a block of items, T neighbours of each.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from gnnrec.sampling.csr import CSR

Array = NDArray[Any]


def visited(
    to_item: CSR, to_user: CSR, items: Array, keep: int, steps: int, restart: float, seed: int
) -> tuple[Array, Array]:
    """The `keep` most visited other items of each item [B] and their counts, [B, T]; -1 and 0 where fewer were met.

    to_item: the users of each item [I, U]; to_user: the items of each user [U, I]. `steps` of all walks of an item
    together; before each one the walk starts again with probability `restart`. Of equal counts the lower index first.
    An item's walks depend on the seed and on the item alone, not on the block it stands in.
    """
    return _visited(
        to_item.offsets, to_item.columns, to_user.offsets, to_user.columns, items, keep, steps, restart, seed
    )


@numba.njit(cache=True, nogil=True)
def _visited(
    item_start: Array, item_users: Array, user_start: Array, user_items: Array,
    items: Array, keep: int, steps: int, restart: float, seed: int,
) -> tuple[Array, Array]:  # fmt: skip
    near = np.full((len(items), keep), -1, dtype=np.int64)
    counts = np.zeros((len(items), keep), dtype=np.int64)
    visits = np.zeros(len(item_start) - 1, dtype=np.int64)
    touched = np.empty(steps, dtype=np.int64)
    for place in range(len(items)):
        origin, num_touched = items[place], 0
        np.random.seed((seed * 1_000_003 + origin) % 4_294_967_296)  # noqa: NPY002 (numba's own state, of this thread)
        if item_start[origin + 1] == item_start[origin]:
            continue
        here = origin
        for _ in range(steps):
            if np.random.random() < restart:  # noqa: NPY002
                here = origin
            degree = item_start[here + 1] - item_start[here]
            user = item_users[item_start[here] + np.int64(np.random.random() * degree)]  # noqa: NPY002
            degree = user_start[user + 1] - user_start[user]
            here = user_items[user_start[user] + np.int64(np.random.random() * degree)]  # noqa: NPY002
            if visits[here] == 0:
                touched[num_touched] = here
                num_touched += 1
            visits[here] += 1
        met = np.sort(touched[:num_touched])
        order = np.argsort(-visits[met], kind="mergesort")
        nth = 0
        for at in order:
            if met[at] != origin and nth < keep:
                near[place, nth], counts[place, nth] = met[at], visits[met[at]]
                nth += 1
        visits[met] = 0
    return near, counts
