"""Item paths: user -> her last items -> what goes with them or follows them, two linear models in closed form.

They err elsewhere than a trained graph does, so their scores, added to its own, make better lists where the log has
an order (movies: NOTES). EASE (Steck 2019) knows what goes together, SLIST's transitions (Choi et al. 2021) what
follows; the user's side of both are the recency weights of her last items, or her whole history where there is no
order. How much each one counts is chosen on validation, and may be nothing.

Letters: U users, I items.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, REV_INTERACTS, interactions_of, operator
from gnnrec.models.ease import ease_weights
from gnnrec.models.slist import transition_weights
from gnnrec.propagate import SparseOperator
from gnnrec.recency import recent_of_users

MAX_ITEMS = 8_000  # paths are dense: 256 MB
WEIGHTS = (0.0, 0.25, 0.5, 1.0)  # tried for each; the graph's own scores weigh 1
EASE_L2, TRANSITIONS_L2 = 200.0, 3.0
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
    measure: Callable[[Tensor], float],
) -> tuple[Tensor, Tensor]:
    """The paths [I, I] that are best by `measure` (of paths, on validation), and the two weights they were made with.

    `embedding_scores`: users [B] -> the graph's own scores [B, I]. Weights are in units of their standard deviation
    over the items of a user. Where nothing is better than no paths, they are empty.
    """
    parts = [ease_weights(interactions_of(graph), EASE_L2)]
    if recent and "time" in graph[INTERACTS]:
        parts.append(transition_weights(graph, recent, half_life, TRANSITIONS_L2))
    starts = histories(graph, recent, half_life)
    some = (starts.offsets.diff() > 0).nonzero().squeeze(1)[:MANY_USERS]  # indexes are a random permutation
    spread = embedding_scores(some).std(1).mean()
    parts = [part * (spread / (starts.select_rows(some) @ part).std(1).mean()) for part in parts]
    best, chosen = measure(torch.empty(0, 0)), (0.0,) * len(parts)
    for weights in list(product(WEIGHTS, repeat=len(parts)))[1:]:
        if (value := measure(combined(parts, weights))) > best:
            best, chosen = value, weights
    shown = torch.tensor([*chosen, 0.0][:2])
    return (combined(parts, chosen) if any(chosen) else torch.empty(0, 0)), shown


def combined(parts: list[Tensor], weights: tuple[float, ...]) -> Tensor:
    return sum((weight * part for weight, part in zip(weights, parts)), torch.zeros(()))
