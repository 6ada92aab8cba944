"""What modality_gnn's `forward` gives, in blocks of rows: see layerwise.py for why, modality_gnn.py for what it is.

Letters: U users, I items, B a block of them, M modalities, n nodes of a modality, d dimensions.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import FRIEND, TOGETHER, nodes_of, operator, owners, user_modalities
from gnnrec.models.base import Embeddings
from gnnrec.models.layerwise import BLOCK_ROWS, made, mean_of_layers, mean_row
from gnnrec.models.unit import unit_rows
from gnnrec.propagate import SparseOperator
from gnnrec.recency import histories_of
from gnnrec.scratch import row_blocks

if TYPE_CHECKING:
    from gnnrec.models.modality_gnn import ModalityGNN

BLOCK_USERS = 4_096  # whose last items are gathered at a time
BLOCK_ITEMS = 8_192  # whose modalities are fused at a time


def long_term(model: "ModalityGNN", graph: HeteroData) -> Embeddings:
    """Users without their short-term interest, as the model's own `_long_term`."""
    config = model.config
    user_start = _starts(model, graph, "user", model.user, user_modalities(graph))
    item_start = _starts(model, graph, "item", model.item, model.modalities)
    user, item = mean_of_layers(graph, user_start, item_start, config.layers)
    if config.friend and FRIEND in graph.edge_types:
        _add(user, config.friend, operator(graph, FRIEND, "mean"), user_start)
    if config.similar and model.modalities:
        _add_fused(model, graph, item, item_start)
    if config.together and TOGETHER in graph.edge_types:
        _add(item, config.together, operator(graph, TOGETHER, "mean"), item_start)
    average, biased = mean_row(user), model.bias is not None

    def users(rows: slice) -> Tensor:
        found = user[rows]
        unknown = found.abs().sum(1, keepdim=True) == 0
        parts = [unit_rows(torch.where(unknown, average, found))]
        return torch.cat([*parts, found.new_ones(len(found), 1)] if biased else parts, dim=1)

    def items(rows: slice) -> Tensor:
        unit = unit_rows(item[rows])
        parts = [unit]
        if model.ordered:
            parts.append(unit_rows(_free(model, "item", model.target, rows) + unit))
        if model.bias is not None:
            parts.append(_free(model, "item", model.bias, rows))
        return torch.cat(parts, dim=1)

    context = None
    if model.ordered:
        context = made(
            (len(item), config.dim), lambda rows: _free(model, "item", model.context, rows) + unit_rows(item[rows])
        )
    width = config.dim + biased
    return Embeddings(
        made((len(user), width), users), made((len(item), width + config.dim * model.ordered), items), context
    )


def with_short_term(model: "ModalityGNN", graph: HeteroData, embeddings: Embeddings) -> Embeddings:
    if not model.ordered:
        return embeddings
    ends = histories_of(graph).size

    def users(rows: slice) -> Tensor:
        return model.with_interest(graph, embeddings, torch.arange(rows.start, rows.stop), ends[rows])

    shape = (len(embeddings.user), embeddings.user.shape[1] + model.config.dim)
    return embeddings._replace(user=made(shape, users, BLOCK_USERS))


def _free(model: "ModalityGNN", node_type: str, table: Tensor, rows: slice) -> Tensor:
    """Free embeddings of a block of users or items: zero for the untrained and for those that joined later. [B, d]"""
    trained = model.user_trained if node_type == "user" else model.item_trained
    found = table[rows] * trained[rows, None]
    return torch.nn.functional.pad(found, (0, 0, 0, rows.stop - rows.start - len(found)))


def _starts(
    model: "ModalityGNN", graph: HeteroData, node_type: str, table: Tensor, modalities: tuple[str, ...]
) -> Tensor:
    """Free embeddings and content, scaled up where some of it is missing."""
    nodes = {modality: nodes_of(graph, modality) for modality in modalities}

    def start(rows: slice) -> Tensor:
        free = _free(model, node_type, table, rows)
        total, present = torch.zeros_like(free), free.new_zeros(len(free), 1)
        for modality, of_owner in nodes.items():
            mine = of_owner[rows]
            there = mine >= 0
            total[there] += model.project[modality](graph[modality].x[mine[there]])
            present[there] += 1
        return free + total * (len(nodes) / present.clamp(min=1))

    return made((graph[node_type].num_nodes, model.config.dim), start)


def _add(table: Tensor, weight: float, listen: SparseOperator, heard: Tensor) -> None:
    """table += weight * listen @ heard, in place."""
    for rows in row_blocks(len(table), BLOCK_ROWS):
        table[rows] += weight * (listen.block(rows) @ heard)


def _add_fused(model: "ModalityGNN", graph: HeteroData, item: Tensor, item_start: Tensor) -> None:
    """item += similar * what the modality nodes of each item heard, fused; in place."""
    parts = []
    for modality in model.modalities:
        listen, similar = None, (modality, "similar", modality)
        if similar in graph.edge_types:
            found = operator(graph, similar, "mean")
            by_item = owners(graph, modality)[found.columns.long()]  # whose node is heard
            listen = SparseOperator(found.offsets, by_item, found.values, (found.shape[0], len(item)))
        parts.append((nodes_of(graph, modality), listen))
    for rows in row_blocks(len(item), BLOCK_ITEMS):
        tokens, masks = [], []
        for nodes, listen in parts:
            mine = nodes[rows]
            there = mine >= 0
            token = item_start[rows] * there[:, None]
            if listen is not None:
                heard = listen.select_rows(mine[there])
                token[there] = heard @ item_start
                there[there.clone()] = heard.offsets.diff() > 0
            tokens.append(token)
            masks.append(there)
        fused = model.fusion(torch.stack(tokens, dim=1), torch.stack(masks, dim=1))[0]
        item[rows] += model.config.similar * fused
