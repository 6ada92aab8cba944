"""SGL: LightGCN, with two views of the graph under dropout held against each other by a contrastive loss.

Wu, Wang, Feng, He, Chen, Lian & Xie 2021, "Self-supervised Graph Learning for Recommendation", eq. 5, 6 (node and edge
dropout), 10 (the loss). As there a pair of views is drawn for each epoch. Deviations: negatives are the users and items
of the batch, not all; the loss is a mean over them, not a sum, so that its weight has another scale; no random walk,
which is an edge dropout for each layer.
"""

from dataclasses import dataclass

from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph_augment import check_rate, edge_dropout, node_dropout
from gnnrec.models.base import EmbeddingModel, Embeddings, check_above_zero, check_choice, check_least, normal
from gnnrec.models.contrast import contrast
from gnnrec.models.lightgcn import light_propagation

DROPOUTS = {"edge": edge_dropout, "node": node_dropout}


@dataclass(frozen=True, slots=True, kw_only=True)
class SGLConfig:
    dim: int = 64
    layers: int = 3
    dropped: str = "edge"  # what a view leaves out: edge | node
    dropout: float = 0.1  # share of it
    degree_aware: bool = False  # popular users and items lose more
    contrast: float = 0.2  # weight of the contrastive loss
    contrast_temperature: float = 0.2
    # Expected length of a row at the start. The contrastive loss is of cosines, whose gradient grows as 1 / length:
    # from .1, as XSimGCL starts, it outweighs the log, and planted tastes are not learnt.
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        check_least(self, dim=1, layers=0, contrast=0.0)
        check_above_zero(self, "contrast_temperature")
        check_choice("model.dropped", self.dropped, tuple(DROPOUTS))
        check_rate("model.dropout", self.dropout)


class SGL(EmbeddingModel):
    def __init__(self, config: SGLConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.user = normal((graph["user"].num_nodes, config.dim), config.init_scale, generator)
        self.item = normal((graph["item"].num_nodes, config.dim), config.init_scale, generator)
        self.views: tuple[HeteroData, HeteroData] | None = None  # of this epoch

    def forward(self, graph: HeteroData) -> Embeddings:
        return light_propagation(graph, self.user, self.item, self.config.layers)

    def batches(self, graph: HeteroData, size: int, generator: Generator) -> tuple[Tensor, ...]:
        """Also draws the views of the epoch: a training that is resumed within it draws the same ones."""
        self.views = self._draw(graph, generator)
        return super().batches(graph, size, generator)

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        first, second = (self(view) for view in self.views or self._draw(graph, generator))
        return self(graph)._replace(views=((first.user, first.item), (second.user, second.item)))

    def auxiliary_loss(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        return self.config.contrast * contrast(graph, embeddings, interactions, self.config.contrast_temperature)

    def _draw(self, graph: HeteroData, generator: Generator) -> tuple[HeteroData, HeteroData]:
        dropout, config = DROPOUTS[self.config.dropped], self.config
        first, second = (dropout(graph, config.dropout, generator, degree_aware=config.degree_aware) for _ in range(2))
        return first, second
