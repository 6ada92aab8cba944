"""XSimGCL: LightGCN with noise on every layer, one layer held against the result by a contrastive loss.

Yu, Xia, Chen, Cui, Hung & Yin 2023, "XSimGCL: Towards Extremely Simple Graph Contrastive Learning for Recommendation",
section 3.2 (eq. 8 for the noise, eq. 11 for the loss). SimGCL (Yu et al. 2022) takes two more noisy passes instead,
and holds them against each other: `views = "two"`. As in the authors' code the embedding itself is no layer.

Letters: U users, I items, N users or items of a batch, d dimensions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, REV_INTERACTS, operator
from gnnrec.models.base import (
    Draw,
    EmbeddingModel,
    Embeddings,
    Smoothing,
    check_above_zero,
    check_choice,
    check_least,
    normal,
    rows_of,
)
from gnnrec.models.contrast import contrast


@dataclass(frozen=True, slots=True, kw_only=True)
class XSimGCLConfig:
    dim: int = 64
    layers: int = 3
    views: str = "layers"  # layers: one layer against the result (XSimGCL) | two: two noisy passes (SimGCL)
    contrast_layer: int = 1  # which layer is held against the result
    noise: float = 0.2  # length of the noise that is added to each row on each layer
    contrast: float = 0.2  # weight of the contrastive loss
    contrast_temperature: float = 0.2
    init_scale: float = 0.1  # expected length of a row at the start

    def __post_init__(self) -> None:
        check_least(self, dim=1, layers=1, noise=0.0, contrast=0.0, contrast_layer=1)
        check_above_zero(self, "contrast_temperature")
        check_choice("model.views", self.views, ("layers", "two"))
        if self.contrast_layer > self.layers:
            raise UserError(f"model.contrast_layer: found {self.contrast_layer}; allowed: 1 to {self.layers}")


class XSimGCL(EmbeddingModel):
    movable_tables = True

    def __init__(
        self, config: XSimGCLConfig, graph: HeteroData, generator: Generator, draw: Draw | None = None
    ) -> None:
        super().__init__()
        self.config, self.hops, self.table_width = config, config.layers, config.dim
        self.user = normal((graph["user"].num_nodes, config.dim), config.init_scale, generator, draw)
        self.item = normal((graph["item"].num_nodes, config.dim), config.init_scale, generator, draw)

    def smoothing(self) -> Smoothing:
        return Smoothing(self.config.layers, 1, False)

    def forward(self, graph: HeteroData) -> Embeddings:
        return self._smoothed(graph, None)[0]

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        if self.config.views == "layers":
            smoothed, layer = self._smoothed(graph, generator)
            return smoothed._replace(views=((smoothed.user, smoothed.item), layer))
        first, second = (self._smoothed(graph, generator)[0] for _ in range(2))
        return self(graph)._replace(views=((first.user, first.item), (second.user, second.item)))

    def auxiliary_loss(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        return self.config.contrast * contrast(graph, embeddings, interactions, self.config.contrast_temperature)

    def _smoothed(self, graph: HeteroData, generator: Generator | None) -> tuple[Embeddings, tuple[Tensor, Tensor]]:
        """The mean of the layers, and the layer that is held against it; with a generator under noise."""
        to_user, to_item = operator(graph, REV_INTERACTS, "symmetric"), operator(graph, INTERACTS, "symmetric")
        user, item = rows_of(self.user, graph, "user"), rows_of(self.item, graph, "item")
        layers = []
        for _ in range(self.config.layers):
            user, item = to_user @ item, to_item @ user
            if generator is not None:
                user, item = self._noisy(user, generator), self._noisy(item, generator)
            layers.append((user, item))
        users, items = (torch.stack(side).mean(0) for side in zip(*layers))
        return Embeddings(users, items), layers[self.config.contrast_layer - 1]

    def _noisy(self, x: Tensor, generator: Generator) -> Tensor:
        """x plus a random vector of a fixed length in its own orthant: eq. 8."""
        noise = torch.rand(x.shape, generator=generator).to(x.device)
        return x + self.config.noise * F.normalize(noise, dim=1) * x.detach().sign()
