"""A training step that sees a piece of the graph: which models can, and what theirs is. And negatives that are drawn.

Letters: U users, I items, C candidates.
"""

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec import scratch
from gnnrec.datasets.interactions import rows_of_users
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, TOGETHER
from gnnrec.models import EmbeddingModel
from gnnrec.subgraph import Sampler

SAMPLINGS = ("whole", "neighbours", "temporal")
IMPORTANCES = ("uniform", "visits")


def check_sampling(sampling: str, fanout: int | str, importance: str = "uniform") -> None:
    """Of settings alone. Raises UserError."""
    if sampling not in SAMPLINGS:
        raise UserError(f"train.sampling: found {sampling!r}; allowed: {', '.join(SAMPLINGS)}")
    if not all(part.strip().isdigit() for part in str(fanout).split(",")):
        raise UserError(f'train.fanout: found {fanout!r}; allowed: 0 or more, or such numbers as in "15,10"')
    if importance not in IMPORTANCES:
        raise UserError(f"train.importance: found {importance!r}; allowed: {', '.join(IMPORTANCES)}")
    if importance == "visits" and sampling == "whole":
        raise UserError("train.importance: found 'visits'; allowed with train.sampling=whole: uniform")
    if importance == "visits" and "0" in (part.strip() for part in str(fanout).split(",")):
        raise UserError(f"train.fanout: found {fanout!r}; allowed with train.importance=visits: 1 or more at each hop")


def fanouts(fanout: int | str, hops: int) -> tuple[int, ...]:
    """Sampled neighbours at each hop of a model. Raises UserError where they are given for another number of hops."""
    found = tuple(int(part) for part in str(fanout).split(","))
    if len(found) == 1:
        return found * hops
    if len(found) != hops:
        raise UserError(f"train.fanout: found {fanout!r}; allowed: one number, or {hops} (the model's hops)")
    return found


def sampler_for(
    model: EmbeddingModel, graph: HeteroData, sampling: str, fanout: int | str, importance: str = "uniform"
) -> Sampler | None:
    """What draws the pieces that a step sees; None where it sees the whole graph. Raises UserError."""
    if sampling == "whole":
        return None
    if model.hops is None:
        name = type(model).__name__
        raise UserError(f"train.sampling: found {sampling!r}; allowed: whole, since {name} sees all edges at once")
    if importance == "visits" and not model.hops:
        raise UserError(
            f"train.importance: found 'visits'; allowed: uniform, since {type(model).__name__} draws no neighbours"
        )
    if sampling == "temporal":
        if "time" not in graph[INTERACTS]:
            raise UserError("train.sampling: found 'temporal'; allowed: data with timestamps, split in their order")
        if TOGETHER in graph.edge_types:
            raise UserError("graph.together: counts the whole log; allowed with train.sampling=temporal: 0")
    sampler = model.sampler(graph, fanouts(fanout, model.hops))
    sampler.importance = importance
    return sampler


def own_candidates(graph: HeteroData, place: Tensor, num_candidates: int) -> tuple[Tensor, Tensor]:
    """Of each user's own candidates in ascending order, user by user: user * C + the number of others before it; and
    how many she has [U]. place: [I] of each item among the candidates. Made of some users at a time, for a long log in
    a scratch file.
    """
    user, item = graph[INTERACTS].edge_index
    num_users, device = graph["user"].num_nodes, user.device
    num_own = torch.zeros(num_users, dtype=torch.int64, device=device)
    gaps, found = torch.from_numpy(scratch.of_log((len(user),), np.int64)), 0
    for rows in map(torch.from_numpy, rows_of_users(user.cpu().numpy(), num_users)):
        rows = rows.to(device)
        own = torch.unique(user[rows] * num_candidates + place[item[rows]])
        owner = own // num_candidates
        count = torch.bincount(owner, minlength=num_users)
        num_own += count
        start = count.cumsum(0) - count
        gaps[found : found + len(own)] = own - (torch.arange(len(own), device=device) - start[owner])
        found += len(own)
    return gaps[:found].to(device), num_own
