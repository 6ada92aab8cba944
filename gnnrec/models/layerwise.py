"""Embeddings of all nodes one layer at a time and of each layer one block of rows at a time, into scratch files.

A layer is made for everybody before the next one begins, so that no node's neighbourhood is followed more than once and
memory holds a block, not users by dimensions by layers (layer-wise inference: GraphSAGE, Hamilton et al. 2017; PinSage,
Ying et al. 2018, section 3.4). What comes out is what `forward` gives, to the rounding of float32.

Letters: U users, I items, d dimensions.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec import scratch
from gnnrec.graph import INTERACTS, REV_INTERACTS, operator
from gnnrec.models.unit import unit_rows
from gnnrec.propagate import SparseOperator

BLOCK_ROWS = 65_536
Rows = Callable[[slice], Tensor]
"""Consecutive rows -> what a table holds there."""
Carry = Callable[[Tensor], Tensor]
"""A table of the shape of the one it is made from, or of the other side's."""


def made(shape: tuple[int, int], rows_of: Rows, size: int = BLOCK_ROWS) -> Tensor:
    """A table in a scratch file, filled `size` rows at a time."""
    table = torch.from_numpy(scratch.empty(shape, in_memory=0))
    for rows in scratch.row_blocks(shape[0], size):
        table[rows] = rows_of(rows)
    return table


def changed(table: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The same table with every block of rows replaced by what is made of it."""
    for rows in scratch.row_blocks(len(table), BLOCK_ROWS):
        table[rows] = change(table[rows])
    return table


def copied(table: Tensor) -> Tensor:
    return made((len(table), table.shape[1]), lambda rows: table[rows])


def carried(operator: SparseOperator, table: Tensor) -> Tensor:
    """`operator` [N, M] @ `table` [M, d]."""
    return made((operator.shape[0], table.shape[1]), lambda rows: operator.block(rows) @ table)


def mean_of_layers(graph: HeteroData, user: Tensor, item: Tensor, layers: int, first: int = 0) -> tuple[Tensor, Tensor]:
    """Mean of Â^first x, …, Â^layers x over the user-item graph, as `light_propagation`. [U, d], [I, d]"""
    return mean_of_carried(
        (user, item),
        lambda x: carried(operator(graph, REV_INTERACTS, "symmetric"), x),
        lambda x: carried(operator(graph, INTERACTS, "symmetric"), x),
        layers,
        first,
    )


def mean_of_carried(
    tables: tuple[Tensor, Tensor], to_user: Carry, to_item: Carry, layers: int, first: int, copy: Carry = copied
) -> tuple[Tensor, Tensor]:
    """The same by any way to carry items to users and users to items. copy: a table that may be changed."""
    user, item = tables
    sums: list[Tensor] = []
    for layer in range(layers + 1):
        if layer:
            user, item = to_user(item), to_item(user)
        if layer == first:
            sums = [copy(user), copy(item)]
        elif layer > first:
            for total, x in zip(sums, (user, item)):
                for rows in scratch.row_blocks(len(x), BLOCK_ROWS):
                    total[rows] += x[rows]
    num_layers = layers + 1 - first
    users, items = (changed(total, lambda rows: rows / num_layers) for total in sums)
    return users, items


def unit_blocks(table: Tensor) -> Tensor:
    """The same table with its rows brought to length one."""
    return changed(table, unit_rows)


def mean_row(table: Tensor) -> Tensor:
    """The mean of the rows of [N, d]. [d]"""
    total = torch.zeros(table.shape[1], dtype=torch.float64)
    for rows in scratch.row_blocks(len(table), BLOCK_ROWS):
        total += table[rows].sum(0)
    return (total / max(len(table), 1)).float()


def covariance(table: Tensor) -> Tensor:
    """Of the rows of [N, d]. [d, d]"""
    mean, total = mean_row(table), torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for rows in scratch.row_blocks(len(table), BLOCK_ROWS):
        centered = table[rows] - mean
        total += centered.T @ centered
    return (total / max(len(table) - 1, 1)).float()
