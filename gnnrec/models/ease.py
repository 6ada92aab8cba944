"""EASE: a linear item-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders", eq. 8)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import REV_INTERACTS, interactions_of, operator
from gnnrec.models.base import ClosedFormModel, check_least

MAX_ITEMS = 30_000  # the dense inverse takes I^2 x 8 bytes twice


@dataclass(frozen=True, slots=True, kw_only=True)
class EASEConfig:
    l2: float = 200.0  # lambda of the paper

    def __post_init__(self) -> None:
        check_least(self, l2=0.001)  # without it the Gram matrix may have no inverse


class EASE(ClosedFormModel):
    def __init__(self, config: EASEConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", torch.empty(0))  # [I, I], zero diagonal

    def fit_closed_form(self, graph: HeteroData) -> None:
        if (num_items := graph["item"].num_nodes) > MAX_ITEMS:
            raise UserError(f"model ease: found {num_items} items; allowed: {MAX_ITEMS} (a dense inverse)")
        matrix = interactions_of(graph).matrix()
        gram = torch.from_numpy((matrix.T @ matrix).toarray()).double()
        gram.diagonal().add_(self.config.l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        weights = inverse / -inverse.diagonal()
        weights.fill_diagonal_(0)
        self.weights = weights.float()

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        # history [B, I] sparse times weights [I, I]
        return operator(graph, REV_INTERACTS, "none").select_rows(users) @ self.weights
