"""Item paths: user -> her last items -> what goes with them or follows them, two linear models in closed form.

They err elsewhere than a trained graph does, so their scores, added to its own, make better lists (NOTES). What goes
together is EASE (Steck 2019), what follows are SLIST's transitions (Choi et al. 2021); in large catalogues both are
regressed on the neighbourhood of each item (slim.py), which needs no [I, I] inverse. The user's side of both are the
recency weights of her last items, or her whole history where there is no order. How much each one counts is chosen on
validation, and may be nothing.

Letters: U users, I items, B a batch.
"""

from collections.abc import Callable, Sequence
from itertools import product

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, REV_INTERACTS, interactions_of, operator
from gnnrec.models.ease import ease_weights
from gnnrec.models.slim import neighbourhood_weights, sparse_scores
from gnnrec.models.slist import transition_weights
from gnnrec.models.transition import recent_and_next
from gnnrec.propagate import SparseOperator
from gnnrec.recency import recent_of_users

WEIGHTS = (0.0, 0.25, 0.5, 1.0)  # tried for each; the graph's own scores weigh 1
DENSE_ITEMS = 8_000  # up to so many, an item is regressed on all others; beyond, on its neighbours
NEIGHBORS = 100
TOGETHER_L2, FOLLOWING_L2 = 200.0, 3.0
MANY_USERS = 1_000  # whose scores are enough to know how far scores spread


def histories(graph: HeteroData, recent: int, half_life: float) -> SparseOperator:
    """What each user's paths start from; rows sum to 1. [U, I]"""
    if recent and "time" in graph[INTERACTS]:
        return recent_of_users(graph, recent, half_life)
    return operator(graph, REV_INTERACTS, "mean")


def choose_paths(
    graph: HeteroData,
    embedding_scores: Callable[[Tensor], Tensor],
    recent: int,
    half_life: float,
    measure: Callable[[csr_array | None], float],
) -> tuple[csr_array | None, Tensor]:
    """The paths [I, I] that are best by `measure` (of paths, on validation), and the two weights they were made with.

    `embedding_scores`: users [B] -> the graph's own scores [B, I]. Weights are in units of their standard deviation
    over the items of a user. None where nothing is better than no paths.
    """
    parts = path_parts(graph, embedding_scores, recent, half_life)
    best, chosen = measure(None), (0.0,) * len(parts)
    for weights in list(product(WEIGHTS, repeat=len(parts)))[1:]:
        if (value := measure(combined(parts, weights))) > best:
            best, chosen = value, weights
    return (combined(parts, chosen) if any(chosen) else None), torch.tensor([*chosen, 0.0][:2])


def path_parts(
    graph: HeteroData, embedding_scores: Callable[[Tensor], Tensor], recent: int, half_life: float
) -> list[csr_array]:
    """What goes together and, where there is an order, what follows, scaled so that they spread as the scores do."""
    ordered = recent > 0 and "time" in graph[INTERACTS]
    log = interactions_of(graph)
    if log.num_items <= DENSE_ITEMS:
        parts = [csr_array(ease_weights(log, TOGETHER_L2).numpy())]
        if ordered:
            parts.append(csr_array(transition_weights(graph, recent, half_life, FOLLOWING_L2).numpy()))
    else:
        matrix = log.matrix()
        parts = [neighbourhood_weights(matrix, matrix, NEIGHBORS, TOGETHER_L2, own=False)]
        if ordered:
            recent_rows, following = recent_and_next(graph, recent, half_life)
            parts.append(neighbourhood_weights(recent_rows, following, NEIGHBORS, FOLLOWING_L2, own=True))
    starts = histories(graph, recent, half_life)
    some = (starts.offsets.diff() > 0).nonzero().squeeze(1)[:MANY_USERS]  # indexes are a random permutation
    spread = embedding_scores(some).std(1).mean()
    return [part * float(spread / sparse_scores(starts, some, part).std(1).mean()) for part in parts]


def combined(parts: list[csr_array], weights: Sequence[float]) -> csr_array:
    """Their weighted sum; of one part the first weight."""
    total = weights[0] * parts[0]
    for weight, part in zip(weights[1:], parts[1:]):
        total = total + weight * part
    return csr_array(total)
