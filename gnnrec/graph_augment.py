"""Other views of a graph, drawn by a generator: edges or nodes left out. Nodes keep their places and their content.

For contrastive losses, as in SGL (Wu et al. 2021, "Self-supervised Graph Learning for Recommendation", section 3.1).

Letters: U users, I items, E edges, n things of which some stay.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import (
    FRIEND,
    INTERACTS,
    REV_INTERACTS,
    TOGETHER,
    item_modalities,
    num_interactions,
    owners,
    with_edges,
)

EdgeType = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DropoutConfig:
    """What `gnnrec inspect --augment` shows of a graph."""

    edges: float = 0.2  # share of the interactions that are left out
    nodes: float = 0.2  # share of the users, and of the items, that lose their edges
    degree_aware: bool = False  # popular things lose more
    content: bool = False  # edges by common users, by likeness and between friends go too

    def __post_init__(self) -> None:
        for key in ("edges", "nodes"):
            check_rate(f"dropout.{key}", getattr(self, key))


def edge_dropout(
    graph: HeteroData, rate: float, generator: Generator, *, degree_aware: bool = False, content: bool = False
) -> HeteroData:
    """Without the share `rate` of the interacting pairs, rounded, both ways alike; at least one pair stays.

    degree_aware: pairs stay with a weight of 1 / sqrt(degree of the user * degree of the item), drawn without
    replacement (FREEDOM, Zhou & Shen 2023, eq. 6); else all alike. content: the same share of the edges by common
    users, by likeness and between friends (pairs of them) goes too.
    """
    check_rate("edge dropout", rate)
    if not rate:
        return graph
    user, item = graph[INTERACTS].edge_index.cpu()
    # Who took a thing twice has one pair: otherwise its second row would keep what the first one lost.
    pairs, of_pair = torch.unique(user * graph["item"].num_nodes + item, return_inverse=True)
    weight = torch.ones(len(pairs))
    if degree_aware:
        of_user, of_item = pairs // graph["item"].num_nodes, pairs % graph["item"].num_nodes
        weight = (of_user.bincount()[of_user] * of_item.bincount()[of_item]).double().rsqrt()
    kept = _kept(weight, rate, generator)[of_pair]
    edges = {edge_type: _edges(graph, edge_type, kept) for edge_type in (INTERACTS, REV_INTERACTS)}
    for edge_type in _others(graph) if content else ():
        source, target = graph[edge_type].edge_index.cpu()
        groups = torch.arange(len(source))
        if edge_type == FRIEND:
            pair = torch.minimum(source, target) * graph["user"].num_nodes + torch.maximum(source, target)
            groups = torch.unique(pair, return_inverse=True)[1]
        number = int(groups.max()) + 1 if len(groups) else 0
        edges[edge_type] = _edges(graph, edge_type, _kept(torch.ones(number), rate, generator)[groups])
    return with_edges(graph, edges)


def node_dropout(
    graph: HeteroData, rate: float, generator: Generator, *, degree_aware: bool = False, content: bool = False
) -> HeteroData:
    """Without any interaction of the share `rate` of the users, rounded, and of as large a share of the items.

    degree_aware: users and items stay with a weight of 1 / sqrt(degree); else all alike. content: also without the
    other edges at them and at their content. What belongs to whom (item, has_text, text) always stays.
    """
    check_rate("node dropout", rate)
    if not rate:
        return graph
    kept: dict[str, Tensor] = {}
    for side in ("user", "item"):
        weight = torch.ones(graph[side].num_nodes)
        if degree_aware:
            weight = num_interactions(graph, side).cpu().clamp(min=1).double().rsqrt()
        kept[side] = _kept(weight, rate, generator)
    kept |= {name: kept["item"][owners(graph, name).cpu()] for name in item_modalities(graph)}
    edges = {}
    for edge_type in (INTERACTS, REV_INTERACTS, *(_others(graph) if content else ())):
        source, target = graph[edge_type].edge_index.cpu()
        edges[edge_type] = _edges(graph, edge_type, kept[edge_type[0]][source] & kept[edge_type[2]][target])
    return with_edges(graph, edges)


def check_rate(name: str, rate: float) -> None:
    if not 0 <= rate < 1:
        raise UserError(f"{name}: found {rate}; allowed: from 0, below 1")


def _others(graph: HeteroData) -> list[EdgeType]:
    """Edges that are neither interactions nor say what belongs to whom."""
    similar = [(name, "similar", name) for name in item_modalities(graph)]
    return [edge_type for edge_type in (TOGETHER, FRIEND, *similar) if edge_type in graph.edge_types]


def _kept(weight: Tensor, rate: float, generator: Generator) -> Tensor:
    """Which of n things stay: n less the share `rate`, rounded, but at least one. [n] -> [n]"""
    stay = max(len(weight) - round(rate * len(weight)), min(len(weight), 1))
    # The largest u^(1/w) are a weighted sample without replacement (Efraimidis & Spirakis 2006).
    keys = torch.rand(len(weight), generator=generator, dtype=torch.float64).log() / weight
    return torch.zeros(len(weight), dtype=torch.bool).index_fill(0, keys.topk(stay).indices, True)


def _edges(graph: HeteroData, edge_type: EdgeType, kept: Tensor) -> dict[str, Tensor]:
    """The edges of a type that stay, with what stands beside each. kept: [E]"""
    store = graph[edge_type]
    kept = kept.to(store.edge_index.device)
    beside = {key: store[key][kept] for key in ("time", "edge_weight") if key in store}
    return {"edge_index": store.edge_index[:, kept]} | beside
