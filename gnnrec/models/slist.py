"""SLIT: linear transitions from a user's last items to the next one, in closed form.

Choi, Kim, Lee, Shim & Lee 2021, "Session-aware Linear Item-Item Models for Session-based Recommendation", section 3.3:
W minimizes |S W - T|^2 + l2 |W|^2, S the items just before, T the next one; so W = (S'S + l2 I)^-1 S'T.
Deviations: a row of S is the recency-weighted window before one interaction and sums to 1 (the paper: all of the
session before it, undecayed in S), a row of T the one interaction (the paper: all that follow, decayed), and no weight
by the age of a session. The paper's sum of both losses, SLIST, is this beside EASE.

Letters: I items, E interactions, B a batch.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.models.base import ClosedFormModel, check_above_zero, check_least, check_order
from gnnrec.models.ease import check_num_items
from gnnrec.models.transition import recent_and_next
from gnnrec.recency import recent_of_users


@dataclass(frozen=True, slots=True, kw_only=True)
class SLISTConfig:
    recent: int = 20  # how many last items count
    half_life: float = 5.0  # steps back at which a recent item counts half
    l2: float = 3.0  # lambda of the paper

    def __post_init__(self) -> None:
        check_least(self, recent=1, l2=0.001)  # without it S'S may have no inverse
        check_above_zero(self, "half_life")


class SLIST(ClosedFormModel):
    def __init__(self, config: SLISTConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", torch.empty(0))  # [I, I] from a recent item to the next

    def fit_closed_form(self, graph: HeteroData) -> None:
        check_order(graph, "slist")
        check_num_items(graph, "slist")
        self.weights = transition_weights(graph, self.config.recent, self.config.half_life, self.config.l2)

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        check_order(graph, "slist")
        return recent_of_users(graph, self.config.recent, self.config.half_life).select_rows(users) @ self.weights


def transition_weights(graph: HeteroData, length: int, half_life: float, l2: float) -> Tensor:
    """W of the module's docstring, from a recent item to the next. [I, I]"""
    recent, following = recent_and_next(graph, length, half_life)
    gram = torch.from_numpy((recent.T @ recent).toarray()).double()
    gram.diagonal().add_(l2)
    counts = torch.from_numpy((recent.T @ following).toarray()).double()
    return torch.cholesky_solve(counts, torch.linalg.cholesky(gram)).float()
