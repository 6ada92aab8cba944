"""The same graph without a piece of it: what a score would be if that had not been there.

The given graph is never changed. Letters: E edges.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.graph import FRIEND, INTERACTS, interactions_of, owners, with_edges, with_interactions

EdgeType = tuple[str, str, str]


def without_interactions(graph: HeteroData, user: int, items: Iterable[int]) -> HeteroData:
    """A user who never had these items. Statistics that were made from the log before stay as they are."""
    log: Interactions = interactions_of(graph)
    store = graph[INTERACTS]
    gone = (store.edge_index[0] == user) & torch.isin(store.edge_index[1], torch.tensor(list(items)))
    return with_interactions(graph, log.rows((~gone).numpy()))


def without_edges(graph: HeteroData, edge_type: EdgeType, pairs: Iterable[tuple[int, int]]) -> HeteroData:
    """Without the edges between these pairs of nodes, whichever way they go."""
    index = graph[edge_type].edge_index
    gone = torch.zeros(index.shape[1], dtype=torch.bool)
    for first, second in pairs:
        gone |= ((index[0] == first) & (index[1] == second)) | ((index[0] == second) & (index[1] == first))
    return with_edges(graph, {edge_type: _parts(graph, edge_type, ~gone)})


def without_takers(graph: HeteroData, item: int) -> HeteroData:
    """An item that nobody ever had. Statistics that were made from the log before stay as they are."""
    log: Interactions = interactions_of(graph)
    return with_interactions(graph, log.rows(log.item != item))


def without_relation(graph: HeteroData, edge_type: EdgeType, item: int) -> HeteroData:
    """An item whose node, or whose modality nodes, have no edges of a type between nodes of one kind."""
    ends = graph[edge_type].edge_index
    if edge_type[0] != "item":
        ends = owners(graph, edge_type[0])[ends]
    return with_edges(graph, {edge_type: _parts(graph, edge_type, ~(ends == item).any(0))})


def without_content(graph: HeteroData, modality: str, item: int) -> HeteroData:
    """An item that lacks one modality: neither its feature nor what its modality node hears or says is left."""
    return _only_nodes(graph, modality, owners(graph, modality) != item)


def without_modality(graph: HeteroData, modality: str) -> HeteroData:
    """All items lack one modality, whose name stays: a trained model has its place for it."""
    return _only_nodes(graph, modality, torch.zeros(graph[modality].num_nodes, dtype=torch.bool))


def _only_nodes(graph: HeteroData, modality: str, keep: Tensor) -> HeteroData:
    """With these nodes of a modality [n] and the edges between them and others."""
    nodes = graph[modality]
    place = keep.cumsum(0) - 1
    left: dict[EdgeType, dict[str, Tensor]] = {}
    for edge_type in graph.edge_types:
        ends = [position for position, node_type in ((0, edge_type[0]), (1, edge_type[2])) if node_type == modality]
        if not ends:
            continue
        index = graph[edge_type].edge_index
        stays = torch.stack([keep[index[position]] for position in ends]).all(0)
        index = index[:, stays].clone()
        for position in ends:
            index[position] = place[index[position]]
        left[edge_type] = _parts(graph, edge_type, stays) | {"edge_index": index}
    smaller = with_edges(graph, left)
    for name in ("x", "imputed"):
        smaller[modality][name] = nodes[name][keep]
    smaller[modality].num_nodes = int(keep.sum())
    return smaller


def without_friends(graph: HeteroData, user: int, friends: Iterable[int]) -> HeteroData:
    """A user who does not know these others."""
    return without_edges(graph, FRIEND, ((user, friend) for friend in friends))


def _parts(graph: HeteroData, edge_type: EdgeType, stays: Tensor) -> dict[str, Tensor]:
    """Index and weight of the edges that stay. stays [E]"""
    store = graph[edge_type]
    parts = {"edge_index": store.edge_index[:, stays]}
    return parts | ({"edge_weight": store.edge_weight[stays]} if "edge_weight" in store else {})
