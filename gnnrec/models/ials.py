"""iALS: implicit-feedback matrix factorization by alternating least squares (Hu, Koren & Volinsky 2008), computed by
the package `implicit`. A user's vector is solved from her history in the given graph, so new interactions fold in."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array, csr_matrix
from torch import Generator, Tensor
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
        config = self.config
        log = interactions_of(graph).matrix()
        self.factors = item_factors(log, config.dim, config.l2, config.confidence, config.iterations, self.seed)

    def forward(self, graph: HeteroData) -> Embeddings:
        history = interactions_of(graph).matrix()
        return Embeddings(user_factors(history, self.factors, self.config.l2, self.config.confidence), self.factors)


def item_factors(log: csr_array, dim: int, l2: float, confidence: float, iterations: int, seed: int) -> Tensor:
    """Y of the paper for a log of ones [U, I]. [I, dim]"""
    return both_factors(log, dim, l2, confidence, iterations, seed)[1]


def both_factors(
    log: csr_array, dim: int, l2: float, confidence: float, iterations: int, seed: int
) -> tuple[Tensor, Tensor]:
    """X and Y of the paper for a log of ones [U, I], users as they were before the last step of the items (that
    `user_factors` makes anew). [U, dim], [I, dim]"""
    from implicit.cpu.als import AlternatingLeastSquares

    with warnings.catch_warnings():
        # It warns of BLAS threads beside its own, of which it has one here.
        warnings.filterwarnings("ignore", "(OpenBLAS|Intel MKL BLAS) is configured", RuntimeWarning)
        model = AlternatingLeastSquares(
            factors=dim,
            regularization=l2,
            alpha=confidence,
            iterations=iterations,
            random_state=seed,
            num_threads=1,
        )
    model.fit(csr_matrix(log), show_progress=False)
    return torch.from_numpy(np.asarray(model.user_factors)), torch.from_numpy(np.asarray(model.item_factors))


def user_factors(history: csr_array, item: Tensor, l2: float, confidence: float) -> Tensor:
    """x_u = (Y'Y + sum_i (c - 1) y_i y_i' + l2 I)^-1 sum_i c y_i over u's history [U, I]: eq. 4 of the paper. [U, d]"""
    factors = item.double()
    base = factors.T @ factors + l2 * torch.eye(factors.shape[1], dtype=torch.float64)
    return solved_users(history, item, base, confidence - 1, confidence)


def solved_users(history: csr_array, item: Tensor, base: Tensor, weight: float, gain: float) -> Tensor:
    """(base + weight sum_i y_i y_i')^-1 sum_i gain y_i over each user's history [U, I], in float64; zeros where that is
    empty. base: [d, d] float64. [U, d]"""
    factors = item.double()
    users = torch.zeros(history.shape[0], factors.shape[1], dtype=torch.float64)
    for user in range(history.shape[0]):
        mine = factors[history.indices[history.indptr[user] : history.indptr[user + 1]]]
        if len(mine):
            users[user] = torch.linalg.solve(base + weight * mine.T @ mine, gain * mine.sum(0))
    return users.float()
