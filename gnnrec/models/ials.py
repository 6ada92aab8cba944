"""iALS: implicit-feedback matrix factorization by alternating least squares (Hu, Koren & Volinsky 2008), computed by
the package `implicit`. A user's vector is solved from her history in the given graph, so new interactions fold in."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Generator
from torch_geometric.data import HeteroData

from gnnrec.graph import interactions_of
from gnnrec.models.base import ClosedFormEmbeddingModel, Embeddings, check_least


@dataclass(frozen=True, slots=True, kw_only=True)
class IALSConfig:
    dim: int = 64
    l2: float = 0.1
    confidence: float = 5.0  # c of an observed interaction, where an unobserved one has 1; alpha of `implicit`
    iterations: int = 20

    def __post_init__(self) -> None:
        check_least(self, dim=1, l2=0.0, confidence=1.0, iterations=1)


class IALS(ClosedFormEmbeddingModel):
    def __init__(self, config: IALSConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.seed = int(torch.randint(2**31, (), generator=generator))
        self.register_buffer("factors", torch.empty(0))  # [I, d]

    def fit_closed_form(self, graph: HeteroData) -> None:
        from implicit.cpu.als import AlternatingLeastSquares

        model = AlternatingLeastSquares(
            factors=self.config.dim,
            regularization=self.config.l2,
            alpha=self.config.confidence,
            iterations=self.config.iterations,
            random_state=self.seed,
            num_threads=1,
        )
        model.fit(csr_matrix(interactions_of(graph).matrix()), show_progress=False)
        self.factors = torch.from_numpy(np.asarray(model.item_factors))

    def forward(self, graph: HeteroData) -> Embeddings:
        """x_u = (Y'Y + sum_i (c - 1) y_i y_i' + l2 I)^-1 sum_i c y_i over u's history: eq. 4 of the paper."""
        history = interactions_of(graph).matrix()
        factors = self.factors.double()
        base = factors.T @ factors + self.config.l2 * torch.eye(factors.shape[1], dtype=torch.float64)
        users = torch.zeros(history.shape[0], factors.shape[1], dtype=torch.float64)
        for user in range(history.shape[0]):
            mine = factors[history.indices[history.indptr[user] : history.indptr[user + 1]]]
            if len(mine):
                left = base + (self.config.confidence - 1) * mine.T @ mine
                users[user] = torch.linalg.solve(left, self.config.confidence * mine.sum(0))
        return Embeddings(users.float(), self.factors)
