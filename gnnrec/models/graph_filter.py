"""Graph filter in closed form: GF-CF (Shen et al. 2021, "How powerful is graph convolution for recommendation?").

Eq. 12: score(r) = r (R̃'R̃ + alpha D^-1/2 V V' D^1/2): a linear filter plus an ideal low-pass on the item graph, where
R̃ = D_U^-1/2 R D_I^-1/2 and V are R̃'s leading right singular vectors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import svds
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import REV_INTERACTS, interactions_of, operator
from gnnrec.models.base import ClosedFormModel, check_least
from gnnrec.propagate import SparseOperator


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFilterConfig:
    factors: int = 64  # how many singular vectors the ideal low-pass keeps
    low_pass: float = 0.3  # alpha, the weight of the ideal low-pass

    def __post_init__(self) -> None:
        check_least(self, factors=1)


class GraphFilter(ClosedFormModel):
    def __init__(self, config: GraphFilterConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        for name in ("offsets", "columns", "values", "vectors", "degree"):
            self.register_buffer(name, torch.empty(0))

    def fit_closed_form(self, graph: HeteroData) -> None:
        train = operator(graph, REV_INTERACTS, "symmetric")  # R̃ [U, I]
        self.offsets, self.columns, self.values = train.offsets, train.columns, train.values
        matrix = interactions_of(graph).matrix()
        self.degree = torch.from_numpy(matrix.sum(axis=0)).float().clamp(min=1)  # [I]
        normalized = matrix.copy()
        user_degree = np.maximum(matrix.sum(axis=1), 1)
        rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
        normalized.data = (1 / np.sqrt(user_degree[rows] * self.degree.numpy()[matrix.indices])).astype(np.float64)
        factors = min(self.config.factors, min(matrix.shape) - 1)
        # A fixed start vector: the default is random, and runs have to repeat.
        _, _, vectors = svds(normalized, k=factors, v0=np.ones(min(matrix.shape)))
        self.vectors = torch.from_numpy(vectors.T.copy()).float()  # [I, f]

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        num_items = len(self.degree)
        shape = (len(self.offsets) - 1, num_items)
        train = SparseOperator(self.offsets, self.columns, self.values, shape)
        history = operator(graph, REV_INTERACTS, "none").select_rows(users)
        dense = (history.transposed @ torch.eye(len(users))).T  # [B, I]
        linear = (train.transposed @ (train @ dense.T)).T
        root = self.degree.sqrt()
        ideal = ((dense / root) @ self.vectors) @ self.vectors.T * root
        return linear + self.config.low_pass * ideal
