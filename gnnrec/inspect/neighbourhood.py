"""One user's surroundings in the graph of a run, as a networkx graph with places to draw its nodes at.

Columns from left to right: the user, the items she had last, their modality nodes, the modality nodes these listen to,
and the items behind those. Where the graph has no content, the items most often taken together with hers.
"""

from collections.abc import Iterator

import networkx as nx
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import TOGETHER, item_modalities, owners
from gnnrec.run_folder import Run

MOST_NODES = 40
MOST_ITEMS = 6
TOGETHER_EACH = 3  # neighbours of each item where there is no content

Node = tuple[str, int]  # node type, index


def neighbourhood(run: Run, user: str) -> nx.DiGraph:
    """Nodes (type, index) with `kind`, `label` and `place` (x, y); edges with `weight`, the similarity, or None.

    Messages flow along the edges. At most MOST_NODES nodes. Raises UserError for an unknown user.
    """
    graph, index = run.known_graph, run.user_index(user)
    titles = run.items.titles() if run.items else (None,) * len(run.item_ids)
    modalities = item_modalities(graph)
    per_item = 3 * len(modalities) if modalities else TOGETHER_EACH
    count = max(1, min(MOST_ITEMS, (MOST_NODES - 1) // (per_item + 1)))
    items = dict.fromkeys(run.known.item[run.known.user == index][::-1].tolist())  # the newest first, each once
    network = nx.DiGraph()
    network.add_node(("user", index), kind="user", label=f"user {user}", place=(0, 0))
    columns: list[list[Node]] = [[("user", index)], [], [], [], []]

    def add(column: int, node: Node, towards: Node, weight: float | None = None) -> None:
        if node not in network:
            label = titles[node[1]] or run.item_ids[node[1]] if node[0] == "item" else ""
            filled_in = node[0] in modalities and bool(graph[node[0]].imputed[node[1]])
            network.add_node(node, kind=node[0], label=label, filled_in=filled_in)
            columns[column].append(node)
        if not network.has_edge(towards, node):
            network.add_edge(node, towards, weight=weight)

    for item in list(items)[:count]:
        add(1, ("item", item), ("user", index))
        for modality in modalities:
            for node in nodes_of(graph, modality, item):
                add(2, (modality, node), ("item", item))
                for source, weight in strongest(graph, (modality, "similar", modality), node, 1):
                    add(3, (modality, source), (modality, node), weight)
                    add(4, ("item", int(owners(graph, modality)[source])), (modality, source))
        if not modalities:
            for source, weight in strongest(graph, TOGETHER, item, TOGETHER_EACH):
                add(2, ("item", source), ("item", item), weight)
    place(network, [column for column in columns if column])
    return network


def nodes_of(graph: HeteroData, modality: str, item: int) -> list[int]:
    """The node of an item in one modality; none where it lacks the content."""
    found: Tensor = (owners(graph, modality) == item).nonzero().flatten()
    return found.tolist()


def strongest(graph: HeteroData, edge_type: tuple[str, str, str], node: int, k: int) -> Iterator[tuple[int, float]]:
    """The k sources that a node listens to most, with the weights of the edges."""
    if edge_type not in graph.edge_types:
        return
    source, target = graph[edge_type].edge_index
    edges = (target == node).nonzero().flatten()
    weight = graph[edge_type].edge_weight[edges]
    for best in torch.topk(weight, min(k, len(edges))).indices:
        yield int(source[edges[best]]), float(weight[best])


def place(network: nx.DiGraph, columns: list[list[Node]]) -> None:
    """Spread each column over the height of the longest one, in the order in which its nodes were met."""
    height = max(len(column) for column in columns)
    for x, column in enumerate(columns):
        for position, node in enumerate(column):
            network.nodes[node]["place"] = (x, -(position + 0.5) * height / len(column))
