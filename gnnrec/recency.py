"""What a user did just before: the order of the log as sparse operators over items, and as windows of items.

Letters: E interactions, U users, I items, L how many recent ones count.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS
from gnnrec.propagate import SparseOperator


def recent_before(graph: HeteroData, length: int, half_life: float) -> SparseOperator:
    """[E, I]: row e weighs the up to `length` items its user had right before interaction e, and never e itself.

    The weight halves every `half_life` steps back; rows sum to 1, or to 0 for a user's first interaction. Made once
    per graph and kept beside the interaction edges. Needs edges in the order of time.
    """
    return _cached(graph, f"recent_before_{length}_{half_life}", length, half_life, of_users=False)


def recent_of_users(graph: HeteroData, length: int, half_life: float) -> SparseOperator:
    """[U, I]: row u weighs the last `length` items of user u, as it would before her next interaction."""
    return _cached(graph, f"recent_of_users_{length}_{half_life}", length, half_life, of_users=True)


def _cached(graph: HeteroData, key: str, length: int, half_life: float, of_users: bool) -> SparseOperator:
    store = graph[INTERACTS]
    if key not in store:
        user, item = store.edge_index
        num_users, num_items = graph["user"].num_nodes, graph["item"].num_nodes
        store[key] = _recent(user, item, num_users, num_items, length, half_life, of_users)
    made: SparseOperator = store[key]
    return made


def _recent(
    user: Tensor, item: Tensor, num_users: int, num_items: int, length: int, half_life: float, of_users: bool
) -> SparseOperator:
    order = torch.argsort(user, stable=True)  # grouped by user, still in order of time
    count = torch.bincount(user, minlength=num_users)
    start = count.cumsum(0) - count  # first place of each user in `order`
    # The place right after the items that count, for each row: of an interaction its own place, of a user her end.
    place = torch.arange(len(order), device=order.device)
    end, first = (start + count, start) if of_users else (place, start[user[order]])
    target = torch.arange(num_users, device=order.device) if of_users else order
    sources, targets, weights = [], [], []
    for lag in range(1, length + 1):
        there = end - lag >= first
        sources.append(item[order[(end - lag)[there]]])
        targets.append(target[there])
        weights.append(torch.full((int(there.sum()),), 0.5 ** ((lag - 1) / half_life), device=order.device))
    source, row, weight = torch.cat(sources), torch.cat(targets), torch.cat(weights)
    num_rows = num_users if of_users else len(user)
    total = torch.zeros(num_rows, device=order.device).index_add_(0, row, weight)
    return SparseOperator.from_edges(source, row, weight / total[row], (num_rows, num_items))


class Histories(NamedTuple):
    """The interactions grouped by user, in the order of time."""

    item: Tensor  # [E + 1] in groups; the last entry stands for no interaction
    start: Tensor  # [U] where each user's group begins
    size: Tensor  # [U] how many are in it
    place: Tensor  # [E] of each interaction of the graph: how many its user had before it


def histories_of(graph: HeteroData) -> Histories:
    """Made once per graph and kept beside the interaction edges. Needs edges in the order of time."""
    store = graph[INTERACTS]
    if "histories" not in store:
        user, item = store.edge_index
        order = torch.argsort(user, stable=True)
        count = torch.bincount(user, minlength=graph["user"].num_nodes)
        start = count.cumsum(0) - count
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device) - start[user[order]]
        store["histories"] = Histories(F.pad(item[order], (0, 1)), start, count, place)
    made: Histories = store["histories"]
    return made


def last_items(histories: Histories, users: Tensor, end: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The up to `length` items before place `end` [B] of each user's [B] history, the last one first.

    Items [B, length], and which of them there are [B, length]; 0 stands where there are none.
    """
    place = end[:, None] - torch.arange(1, length + 1, device=end.device)
    there = place >= 0
    item = histories.item[torch.where(there, histories.start[users, None] + place, -1)]
    return torch.where(there, item, 0), there
