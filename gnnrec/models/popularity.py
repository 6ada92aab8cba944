"""Popularity: everybody gets what most people took. The floor that personal recommendations have to beat."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import num_interactions
from gnnrec.models.base import ClosedFormModel


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityConfig:
    pass


class Popularity(ClosedFormModel):
    def __init__(self, config: PopularityConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.register_buffer("count", torch.empty(0))  # [I] interactions in train

    def fit_closed_form(self, graph: HeteroData) -> None:
        self.count = num_interactions(graph, "item").float()

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        return self.count.repeat(len(users), 1)
