"""Transitions: what people took next after each item, as counted; a Markov chain over a recency-weighted window.

The unpersonalized half of FPMC (Rendle, Freudenthaler & Schmidt-Thieme 2010, section 4.1) without factors: instead of
the whole last basket, the last items count, the more the later they are (as in sequential rules, Ludewig & Jannach
2018, section 3.1, with weights 0.5^(steps / half-life) instead of 1 / steps).

Letters: U users, I items, E interactions, B a batch.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS
from gnnrec.models.base import ClosedFormModel, check_above_zero, check_least, check_order
from gnnrec.propagate import SparseOperator
from gnnrec.recency import recent_before, recent_of_users


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionConfig:
    recent: int = 20  # how many last items count
    half_life: float = 5.0  # steps back at which a recent item counts half
    shrink: float = 1.0  # added to how often anything came next: what was seen rarely says less

    def __post_init__(self) -> None:
        check_least(self, recent=1, shrink=0.0)
        check_above_zero(self, "half_life")


class Transition(ClosedFormModel):
    """score(u, i) = sum of p(i | j) over the last items j of u by their recency; p: the shrunk share of i after j."""

    def __init__(self, config: TransitionConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("offsets", torch.empty(0))  # CSR of p transposed, row = next item
        self.register_buffer("columns", torch.empty(0))
        self.register_buffer("values", torch.empty(0))

    def fit_closed_form(self, graph: HeteroData) -> None:
        check_order(graph, "transition")
        recent, following = recent_and_next(graph, self.config.recent, self.config.half_life)
        counts = csr_array(following.T @ recent)  # [I, I] next by source
        total = np.asarray(counts.sum(0)) + self.config.shrink
        self.offsets = torch.from_numpy(counts.indptr.astype(np.int64))
        self.columns = torch.from_numpy(counts.indices.astype(np.int32))
        self.values = torch.from_numpy((counts.data / total[counts.indices]).astype(np.float32))

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        check_order(graph, "transition")
        recent = recent_of_users(graph, self.config.recent, self.config.half_life).select_rows(users)  # [B, I]
        num_items = recent.shape[1]
        following = SparseOperator(self.offsets, self.columns, self.values, (num_items, num_items))
        return (following @ (recent.transposed @ torch.eye(len(users)))).T.contiguous()


def recent_and_next(graph: HeteroData, length: int, half_life: float) -> tuple[csr_array, csr_array]:
    """Of each training interaction: the weights of the items right before it, and the item itself. [E, I] each"""
    before = recent_before(graph, length, half_life)
    recent = csr_array((before.values.numpy(), before.columns.numpy(), before.offsets.numpy()), shape=before.shape)
    item = graph[INTERACTS].edge_index[1].numpy()
    ones = np.ones(len(item), dtype=np.float32)
    return recent, csr_array((ones, item, np.arange(len(item) + 1)), shape=before.shape)
