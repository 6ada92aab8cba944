"""Item-kNN: items taken together, shrunk cosine (Sarwar et al. 2001; shrinkage as in Ferrari Dacrema et al. 2019)."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import REV_INTERACTS, interactions_of, operator
from gnnrec.models.base import ClosedFormModel, check_least
from gnnrec.propagate import SparseOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemKNNConfig:
    neighbors: int = 100
    shrink: float = 10.0

    def __post_init__(self) -> None:
        check_least(self, neighbors=1, shrink=0.0)


class ItemKNN(ClosedFormModel):
    """score(u, i) = sum of sim(i, j) over the items j of u's history, sim kept for the nearest `neighbors` of j."""

    def __init__(self, config: ItemKNNConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("offsets", torch.empty(0))  # CSR of the similarities, row = item of the catalogue
        self.register_buffer("columns", torch.empty(0))
        self.register_buffer("values", torch.empty(0))

    def fit_closed_form(self, graph: HeteroData) -> None:
        matrix = interactions_of(graph).matrix()
        common = csr_array(matrix.T @ matrix).astype(np.float32)  # [I, I] users in common
        count = common.diagonal()
        common.setdiag(0)
        common.eliminate_zeros()
        rows = np.repeat(np.arange(common.shape[0]), np.diff(common.indptr))
        common.data /= np.sqrt(count[rows] * count[common.indices]) + self.config.shrink
        keep = _largest_of_each_row(common, self.config.neighbors)
        # Row j holds the neighbours of j; scoring needs, for each item i, the j that chose it.
        chosen = csr_array((common.data[keep], (common.indices[keep], rows[keep])), shape=common.shape)
        self.offsets = torch.from_numpy(chosen.indptr.astype(np.int32))
        self.columns = torch.from_numpy(chosen.indices.astype(np.int32))
        self.values = torch.from_numpy(chosen.data)

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        history = operator(graph, REV_INTERACTS, "none").select_rows(users)  # [B, I]
        num_items = history.shape[1]
        similar = SparseOperator(self.offsets, self.columns, self.values, (num_items, num_items))
        return (similar @ (history.transposed @ torch.eye(len(users)))).T.contiguous()


def _largest_of_each_row(matrix: csr_array, k: int) -> np.ndarray:
    """Which stored entries are among the k largest of their row. [E] bool"""
    keep = np.ones(matrix.nnz, dtype=bool)
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:]):
        if stop - start > k:
            smallest = np.argpartition(-matrix.data[start:stop], k)[k:]
            keep[start + smallest] = False
    return keep
