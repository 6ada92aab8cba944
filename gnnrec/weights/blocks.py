"""Embeddings and lists of a graph whose tables nobody has whole: one layer at a time, one block of rows at a time.

What a worker makes are its own rows; of the layer below it looks up the rows that these listen to. The sums are those
of the whole graph, entry by entry in the same order.

Letters: N rows of a table, n of them here, B of a block, d dimensions, k length of the lists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, REV_INTERACTS, operator
from gnnrec.models.base import Smoothing
from gnnrec.models.layerwise import Carry, mean_of_carried, unit_blocks
from gnnrec.propagate import SparseOperator
from gnnrec.ranking import Ranking, embedding_scorer, top_k
from gnnrec.weights.shards import Route, block_of, blocks
from gnnrec.workers import Workers

BLOCK = 2**14  # rows that are made at a time
RANKED = 2**17  # users, and items, that are ranked at a time

New = Callable[[Tensor], Tensor]  # a table of the shape and kind of another one, with any content


@dataclass(frozen=True, slots=True)
class Rows:
    """A table [N, d] of which every worker has a block; all of them ask at once. No gradients."""

    here: Tensor  # [n, d]
    num_rows: int
    workers: Workers

    def look_up(self, ids: Tensor) -> Tensor:
        """[i] -> [i, d]"""
        if self.workers.size == 1:
            return self.here[ids]
        return Route(ids, self.num_rows, self.workers).look_up(self.here)

    def pieces(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """The whole table, from its first row on, and where each piece begins."""
        for rank, block in enumerate(blocks(self.num_rows, self.workers.size)):
            for begin in range(block.start, block.stop, size):
                if rank == self.workers.rank:
                    piece = self.here[begin - block.start :][:size]
                else:
                    piece = self.here.new_empty(min(size, block.stop - begin), self.here.shape[1])
                if self.workers.size > 1:
                    dist.broadcast(piece, rank)
                yield begin, piece


@torch.no_grad()
def smoothed(graph: HeteroData, user: Rows, item: Rows, smoothing: Smoothing, new: New) -> tuple[Rows, Rows]:
    """The embeddings of all users and items from their free ones. `new` makes room for a layer."""

    def carry(edges: tuple[str, str, str], source: Rows, target: Rows) -> Carry:
        return lambda x: _product(operator(graph, edges, "symmetric"), replace(source, here=x), target, new)

    tables = mean_of_carried(
        (user.here, item.here),
        carry(REV_INTERACTS, item, user),
        carry(INTERACTS, user, item),
        smoothing.layers,
        smoothing.first,
        copy=lambda x: new(x).copy_(x),
    )
    users, items = map(unit_blocks, tables) if smoothing.unit else tables
    return replace(user, here=users), replace(item, here=items)


def _product(matrix: SparseOperator, x: Rows, like: Rows, new: New) -> Tensor:
    """matrix [N, M] @ x [M, d], in the blocks of `like` [N, d]."""
    mine, made = block_of(like.num_rows, like.workers), new(like.here)
    largest = -(-like.num_rows // like.workers.size)  # the rows of a worker: all take part in as many look-ups
    for begin in range(0, largest, BLOCK):
        rows = torch.arange(mine.start + begin, max(min(mine.start + begin + BLOCK, mine.stop), mine.start + begin))
        part = matrix.select_rows(rows.to(matrix.offsets.device))
        heard, columns = part.columns.long().unique(return_inverse=True)
        short = SparseOperator(part.offsets, columns, part.values, (len(rows), len(heard)))
        made[begin : begin + len(rows)] = short @ x.look_up(heard)
    return made


def rank_in_blocks(user: Rows, item: Rows, users: Tensor, k: int, seen: csr_array) -> Ranking:
    """As `ranking.top_k` of the inner products, each worker for users [B] of its own, all as often as who has most."""
    items, scores, begin = [torch.empty((0, k), dtype=torch.int64)], [torch.empty((0, k))], 0
    while user.workers.any(begin < len(users))[0]:
        some = users[begin : begin + RANKED]
        part = _ranked(user.look_up(some), item, k, csr_array(seen[some.numpy()]))
        items.append(part[0])
        scores.append(part[1])
        begin += RANKED
    return Ranking(users, torch.cat(items), torch.cat(scores))


def _ranked(vectors: Tensor, item: Rows, k: int, seen: csr_array) -> tuple[Tensor, Tensor]:
    """Items [B, k] and scores [B, k] of some users: their vectors [B, d], and what each of them has seen [B, N]."""
    users = torch.arange(len(vectors))
    items, scores = torch.empty((len(users), 0), dtype=torch.int64), torch.empty((len(users), 0))
    for begin, piece in item.pieces(RANKED):
        part = top_k(embedding_scorer(vectors, piece), users, k, csr_array(seen[:, begin : begin + len(piece)]))
        scores = torch.cat([scores, part.scores], dim=1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)  # equal ones stay in the order of the items
        items = torch.cat([items, torch.where(part.items < 0, -1, part.items + begin)], dim=1).gather(1, order)
        items, scores = items[:, :k], scores[:, :k]
    return items, scores
