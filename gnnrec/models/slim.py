"""SLIM by neighbourhoods: each item is regressed, in closed form, on the few items nearest to it.

SLIM (Ning & Karypis 2011, "SLIM: Sparse Linear Methods for Top-N Recommender Systems", section 4) with the columns of
each regression chosen beforehand (its fsSLIM, section 4.2). Deviations: ridge regression without the bounds at zero, as
in EASE (Steck 2019), whose weights these are where every other item is a neighbour. Unlike EASE's inverse it needs no
[I, I] matrix, so that it serves catalogues of any size.

Letters: U users, I items, B a batch, R rows of a regression (users, or interactions), k neighbours of an item.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import REV_INTERACTS, interactions_of, operator
from gnnrec.models.base import ClosedFormModel, check_least
from gnnrec.propagate import SparseOperator

BLOCK_ITEMS = 512  # solved at a time: 41 MB of Gram matrices with 100 neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class SLIMConfig:
    neighbors: int = 100  # items that an item is regressed on
    l2: float = 200.0

    def __post_init__(self) -> None:
        check_least(self, neighbors=1, l2=0.001)


class SLIM(ClosedFormModel):
    """score(u, i) = sum of the weights from the items of u's history to i."""

    def __init__(self, config: SLIMConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        for name in ("offsets", "columns", "values"):
            self.register_buffer(name, torch.empty(0))  # CSR of the weights, row = item of the history

    def fit_closed_form(self, graph: HeteroData) -> None:
        log = interactions_of(graph).matrix()
        weights = neighbourhood_weights(log, log, self.config.neighbors, self.config.l2, own=False)
        self.offsets, self.columns, self.values = parts_of(weights)

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        history = operator(graph, REV_INTERACTS, "none")
        return sparse_scores(history, users, matrix_of(self.offsets, self.columns, self.values))


def neighbourhood_weights(rows: csr_array, target: csr_array, k: int, l2: float, own: bool) -> csr_array:
    """W [I, I] with up to k entries a column: column i minimizes |rows w - target_i|^2 + l2 |w|^2 over its neighbours.

    `rows` [R, I] float32 and `target` [R, I] of ones. The neighbours of i are the items with the largest cosine between
    their column of `rows` and the target's; `own`: whether i may be its own.
    """
    from gnnrec.cooccurrence import grams, nearest  # numba takes half a second to import

    rows = csr_array(rows, copy=True)
    rows.sum_duplicates()  # an item that stands twice in a history is one entry of its row
    by_item, num_items = rows.tocsc(), rows.shape[1]
    sources, targets, weights = [], [], []
    for first in range(0, num_items, BLOCK_ITEMS):
        block = np.arange(first, min(first + BLOCK_ITEMS, num_items))
        near, common = nearest(rows, target, block, k, own)
        gram = torch.from_numpy(grams(by_item, near))
        gram.diagonal(dim1=1, dim2=2).add_(l2)
        solved = torch.cholesky_solve(torch.from_numpy(common)[:, :, None], torch.linalg.cholesky(gram))[:, :, 0]
        there = near >= 0
        sources.append(near[there])
        targets.append(np.broadcast_to(block[:, None], near.shape)[there])
        weights.append(solved.numpy()[there])
    source, column, weight = (np.concatenate(part) for part in (sources, targets, weights))
    return csr_array((weight.astype(np.float32), (source, column)), shape=(num_items, num_items))


def sparse_scores(history: SparseOperator, users: Tensor, weights: csr_array) -> Tensor:
    """Rows of `history` [U, I] times sparse weights [I, I]. [B, I]"""
    rows = history.select_rows(users.to(history.offsets.device))
    parts = (rows.values.cpu().numpy(), rows.columns.cpu().numpy(), rows.offsets.cpu().numpy())
    scores = csr_array(parts, shape=rows.shape) @ weights
    return torch.from_numpy(scores.toarray()).to(history.values.device)


def parts_of(matrix: csr_array) -> tuple[Tensor, Tensor, Tensor]:
    """CSR offsets, columns and values as tensors."""
    return (
        torch.from_numpy(matrix.indptr.astype(np.int64)),
        torch.from_numpy(matrix.indices.astype(np.int32)),
        torch.from_numpy(matrix.data.astype(np.float32)),
    )


def matrix_of(offsets: Tensor, columns: Tensor, values: Tensor) -> csr_array:
    """Of the parts, which it shares: offsets as wide as the columns, where they can be, or SciPy copies both."""
    size, starts = len(offsets) - 1, offsets.cpu().numpy()
    if starts[-1] < np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)
    matrix = csr_array((values.cpu().numpy(), columns.cpu().numpy(), starts), shape=(size, size))
    matrix.check_format(full_check=True)  # a product would follow indexes of a damaged file out of its memory
    return matrix
