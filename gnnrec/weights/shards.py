"""Rows of tables that lie in contiguous blocks over the workers of a training: who has them, and how they get about.

A step needs few rows of a table. Each worker asks the owners for its own, by one exchange of ids and one of rows; the
gradients go back the same way, and every owner sums up what all workers found for its rows. Thus a table, its moments
and its average are nowhere whole (model parallelism of embedding tables: Naumov et al. 2019, DLRM, section 5).

Letters: N rows of a table, W workers, n rows that this worker needs, m that others need of it, d dimensions.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Generator, Tensor

from gnnrec.workers import Workers

DRAWN = 2**16  # rows that are drawn at a time


def blocks(num_rows: int, size: int) -> list[slice]:
    """The rows of each of so many workers."""
    return [slice(num_rows * rank // size, num_rows * (rank + 1) // size) for rank in range(size)]


def block_of(num_rows: int, workers: Workers) -> slice:
    """This worker's rows."""
    return blocks(num_rows, workers.size)[workers.rank]


class Route:
    """The way to some rows of tables of N rows. Made and used by all workers at once, each with its own ids."""

    def __init__(self, ids: Tensor, num_rows: int, workers: Workers) -> None:
        """ids [n] in any order."""
        begins = torch.tensor([block.start for block in blocks(num_rows, workers.size)], device=ids.device)
        owner = torch.searchsorted(begins, ids.contiguous(), right=True) - 1
        self.order = owner.argsort(stable=True)  # the ids by their owners
        self.asked = torch.bincount(owner, minlength=workers.size).tolist()  # how many of whom
        told = torch.empty(workers.size, dtype=torch.int64, device=ids.device)
        dist.all_to_all_single(told, torch.tensor(self.asked, device=ids.device))
        self.given = told.tolist()  # how many others ask of this one
        self.rows = self._sent(ids[self.order]) - begins[workers.rank]  # [m] in its own block

    def look_up(self, block: Tensor) -> Tensor:
        """The rows [n, d] of the table of whose rows every worker has a block; with a sparse gradient of the block."""
        rows: Tensor = _LookUp.apply(block, self)
        return rows

    def _sent(self, values: Tensor) -> Tensor:
        """What this worker sends to the owners, in the order of these -> what it gets as an owner."""
        got = values.new_empty((sum(self.given), *values.shape[1:]))
        dist.all_to_all_single(got, values.contiguous(), self.given, self.asked)
        return got

    def _returned(self, values: Tensor) -> Tensor:
        """The other way round."""
        got = values.new_empty((sum(self.asked), *values.shape[1:]))
        dist.all_to_all_single(got, values.contiguous(), self.asked, self.given)
        return got


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, block: Tensor, route: Route) -> Tensor:
        ctx.route, ctx.shape = route, block.shape
        got = route._returned(block[route.rows])
        return torch.empty_like(got).index_copy_(0, route.order, got)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        found = ctx.route._sent(gradients[0][ctx.route.order])
        return torch.sparse_coo_tensor(ctx.route.rows[None], found, ctx.shape, check_invariants=False), None


def gathered(block: Tensor, num_rows: int, workers: Workers) -> Tensor:
    """The whole table [N, d] at every worker."""
    if workers.size == 1:
        return block
    whole = block.new_empty((num_rows, *block.shape[1:]))
    whole[block_of(num_rows, workers)] = block
    for rank, rows in enumerate(blocks(num_rows, workers.size)):
        dist.broadcast(whole[rows], rank)
    return whole


class DrawBlock:
    """Draws a table and keeps this worker's rows of it, so that all workers have the numbers of one that draws all."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers

    def __call__(self, shape: tuple[int, int], generator: Generator) -> Tensor:
        num_rows, dim = shape
        kept = block_of(num_rows, self.workers)
        block, begin = torch.empty(kept.stop - kept.start, dim), 0
        while begin < num_rows:
            # No short part at the end: of less than 16 numbers torch makes others.
            end = begin + DRAWN if num_rows - begin >= 2 * DRAWN else num_rows
            part = torch.randn((end - begin, dim), generator=generator)
            low, high = max(begin, kept.start), min(end, kept.stop)
            if low < high:
                block[low - kept.start : high - kept.start] = part[low - begin : high - begin]
            begin = end
        return block
