"""tower: items by their content alone, users by the items they had; no free embedding, so it goes where content goes.

draft
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.fusion import linear
from gnnrec.graph import INTERACTS, REV_INTERACTS, item_modalities, operator, owners
from gnnrec.models.base import EmbeddingModel, Embeddings, check_least, normal
from gnnrec.models.sasrec import dropout
from gnnrec.models.unit import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    dim: int = 128
    hidden: int = 0
    dropout: float = 0.3
    raw: float = 1.0
    bias: bool = True
    attention: bool = True
    context: bool = False
    bias_scale: float = 1.0


class Tower(EmbeddingModel):
    places_new_items = True

    def __init__(self, config: TowerConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.modalities = item_modalities(graph)
        width = sum(graph[m].x.shape[1] for m in self.modalities)
        self.project = nn.Parameter(torch.randn(width, config.dim, generator=generator) / config.dim**0.5)
        if config.hidden:
            self.hidden = nn.Parameter(torch.randn(width, config.hidden, generator=generator))
            self.out = nn.Parameter(torch.zeros(config.hidden, config.dim))
        self.unknown = normal((config.dim,), 1.0, generator)
        self.bias = nn.Parameter(torch.zeros(width, 1))
        self.attend = nn.Parameter(torch.zeros(width, 1))
        if config.context:
            self.ctx = nn.Parameter(torch.eye(config.dim))
        self.raw = nn.Parameter(torch.tensor(float(config.raw)))

    def _features(self, graph):
        parts, present = [], 0
        n = graph["item"].num_nodes
        for m in self.modalities:
            x = graph[m].x
            x = x / x.shape[1] ** 0.5
            parts.append(x.new_zeros(n, x.shape[1]).index_copy(0, owners(graph, m), x))
            has = x.new_zeros(n, 1); has[owners(graph, m)] = 1
            present = present + has
        return torch.cat(parts, 1) * (len(parts) / present.clamp(min=1)) ** 0.5

    def _parts(self, graph, generator=None):
        if "tower_x" not in graph["item"]:
            graph["item"]["tower_x"] = self._features(graph)
        c = self.config
        x0 = graph["item"]["tower_x"]
        x = dropout(x0, c.dropout if self.training else 0, generator)
        t = x @ self.project
        if c.hidden:
            t = t + F.gelu(x @ self.hidden) @ self.out
        t = unit_rows(t)
        ctx = unit_rows(t @ self.ctx) if c.context else t
        item, hist = t, ctx
        if c.raw:
            r = unit_rows(x0)
            item = torch.cat([t, r * self.raw], 1)
            hist = torch.cat([ctx, r], 1)
        w = (x @ self.attend).exp() if c.attention else torch.ones(len(x), 1)
        b = x @ self.bias * c.bias_scale
        return item, hist * w, b

    def _user(self, s):
        d = self.config.dim
        parts = [unit_rows(s[:, :d])] + ([unit_rows(s[:, d:])] if self.config.raw else [])
        return torch.cat(parts + ([s.new_ones(len(s), 1)] if self.config.bias else []), 1)

    def _item(self, item, b):
        return torch.cat([item] + ([b] if self.config.bias else []), 1)

    def forward(self, graph):
        item, hist, b = self._parts(graph)
        return Embeddings(self._user(operator(graph, REV_INTERACTS, "none") @ hist), self._item(item, b))

    def training_pass(self, graph, generator):
        item, hist, b = self._parts(graph, generator)
        return Embeddings(operator(graph, REV_INTERACTS, "none") @ hist, self._item(item, b), hist)

    def queries(self, graph, embeddings, interactions):
        users, items = graph[INTERACTS].edge_index[:, interactions]
        return self._user(embeddings.user[users] - embeddings.context[items])
