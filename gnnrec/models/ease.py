"""EASE: a linear item-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders", eq. 8)."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import REV_INTERACTS, interactions_of, operator
from gnnrec.models.base import ClosedFormModel, check_above_zero, check_least, check_order
from gnnrec.recency import recent_of_users

MAX_ITEMS = 30_000  # the dense inverse takes I^2 x 8 bytes twice


@dataclass(frozen=True, slots=True, kw_only=True)
class EASEConfig:
    l2: float = 200.0  # lambda of the paper
    recent: int = 0  # score by so many last items, weighted by recency; 0 for the whole history, all alike (the paper)
    half_life: float = 5.0  # steps back at which a recent item counts half

    def __post_init__(self) -> None:
        check_least(self, l2=0.001, recent=0)  # without l2 the Gram matrix may have no inverse
        check_above_zero(self, "half_life")


class EASE(ClosedFormModel):
    def __init__(self, config: EASEConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", torch.empty(0))  # [I, I], zero diagonal

    def fit_closed_form(self, graph: HeteroData) -> None:
        check_num_items(graph, "ease")
        self.weights = ease_weights(interactions_of(graph), self.config.l2)

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        if self.config.recent:
            check_order(graph, "ease with model.recent")
            history = recent_of_users(graph, self.config.recent, self.config.half_life)
        else:
            history = operator(graph, REV_INTERACTS, "none")
        return history.select_rows(users) @ self.weights  # [B, I] sparse times [I, I]


def check_num_items(graph: HeteroData, name: str) -> None:
    if (num_items := graph["item"].num_nodes) > MAX_ITEMS:
        raise UserError(f"model {name}: found {num_items} items; allowed: {MAX_ITEMS} (a dense inverse)")


def ease_weights(log: Interactions, l2: float) -> Tensor:
    """Eq. 8 of the paper. [I, I], zero diagonal"""
    matrix = log.matrix()
    gram = torch.from_numpy((matrix.T @ matrix).toarray()).double()
    gram.diagonal().add_(l2)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = inverse / -inverse.diagonal()
    weights.fill_diagonal_(0)
    return weights.float()
