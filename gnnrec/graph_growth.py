"""A graph with new items or a new user at its end, who were not there when a model was trained.

Nothing that was there listens to a new item, so no old embedding moves; the given graph is never changed.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError, count
from gnnrec.graph import (
    FRIEND,
    TOGETHER,
    GraphConfig,
    interactions_of,
    item_modalities,
    nearest_edges,
    with_interactions,
)


def add_items(graph: HeteroData, features: Mapping[str, NDArray[np.float32]], config: GraphConfig) -> HeteroData:
    """The graph with n new items at the end, known by content only: modality -> [n, d], raw as encoded.

    New nodes listen to their nearest neighbours.
    """
    grown = with_interactions(graph, interactions_of(graph))
    num_new = max(len(rows) for rows in features.values())
    first = graph["item"].num_nodes
    grown["item"].num_nodes = first + num_new
    if TOGETHER in graph.edge_types:
        _replace(grown, TOGETHER, edge_index=graph[TOGETHER].edge_index, edge_weight=graph[TOGETHER].edge_weight)
    for modality, rows in features.items():
        if modality not in item_modalities(graph):
            raise UserError(
                f"{modality}: this run knows no such modality; allowed: {', '.join(item_modalities(graph))}"
            )
        nodes = graph[modality]
        if rows.shape[1] != nodes.x.shape[1]:
            raise UserError(
                f"{modality}: found {count(rows.shape[1], 'dimension')}, this run was trained with {nodes.x.shape[1]}"
            )
        x = torch.cat([nodes.x, (torch.from_numpy(rows) - nodes.mean) / nodes.scale])
        new = torch.arange(len(nodes.x), len(x))
        grown[modality].x, grown[modality].num_nodes = x, len(x)
        grown[modality].imputed = torch.cat([nodes.imputed, torch.zeros(len(new), dtype=torch.bool)])
        has = torch.stack([torch.arange(first, first + num_new), new])
        has = torch.cat([graph["item", f"has_{modality}", modality].edge_index, has], dim=1)
        _replace(grown, ("item", f"has_{modality}", modality), edge_index=has)
        _replace(grown, (modality, f"rev_has_{modality}", "item"), edge_index=has.flip(0))
        if (similar := (modality, "similar", modality)) in graph.edge_types:
            edges, weight = nearest_edges(x, (~nodes.imputed).nonzero().squeeze(1), config, queries=new)
            old = graph[similar]
            edges, weight = torch.cat([old.edge_index, edges], dim=1), torch.cat([old.edge_weight, weight])
            _replace(grown, similar, edge_index=edges, edge_weight=weight)
    return grown


def add_user(graph: HeteroData, items: NDArray[np.int32]) -> HeteroData:
    """The graph with a new user at the end who had these items [n], the last one last, all after what is known."""
    log = interactions_of(graph)
    time = log.timestamp
    if time is not None:
        time = np.append(time, np.full(len(items), time.max(initial=0)))
    grown = with_interactions(
        graph,
        Interactions(
            user=np.append(log.user, np.full(len(items), log.num_users, dtype=np.int32)),
            item=np.append(log.item, items),
            timestamp=time,
            num_users=log.num_users + 1,
            num_items=log.num_items,
        ),
    )
    grown["user"].num_nodes = log.num_users + 1
    if FRIEND in graph.edge_types:
        _replace(grown, FRIEND, edge_index=graph[FRIEND].edge_index)
    return grown


def _replace(graph: HeteroData, edge_type: tuple[str, str, str], **tensors: Tensor) -> None:
    """New edges of a type, without the operators that were made from the old ones."""
    store = graph[edge_type]
    for key in list(store.keys()):
        del store[key]
    store.update(tensors)
