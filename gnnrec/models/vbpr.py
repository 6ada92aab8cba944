"""VBPR: matrix factorization with a content part (He & McAuley 2016, eq. 4), for any set of item modalities.

score = user . item + taste . (E f) + beta . f. Deviations: features of all modalities instead of the picture alone,
no per-item bias (a free item embedding covers it under the softmax loss), trained by the chosen loss.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.fusion import linear
from gnnrec.graph import item_modalities, owners
from gnnrec.models.base import EmbeddingModel, Embeddings, check_least, normal


@dataclass(frozen=True, slots=True, kw_only=True)
class VBPRConfig:
    dim: int = 64  # of the free part and of the content part each
    init_scale: float = 1.0

    def __post_init__(self) -> None:
        check_least(self, dim=1)


class VBPR(EmbeddingModel):
    rows_of = MappingProxyType({"user": "user", "taste": "user", "item": "item"})

    def __init__(self, config: VBPRConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        num_users, num_items = graph["user"].num_nodes, graph["item"].num_nodes
        self.user = normal((num_users, config.dim), config.init_scale, generator)
        self.taste = normal((num_users, config.dim), config.init_scale, generator)
        self.item = normal((num_items, config.dim), config.init_scale, generator)
        self.modalities = item_modalities(graph)
        width = sum(graph[modality].x.shape[1] for modality in self.modalities)
        self.project = linear(width, config.dim, generator, bias=False)
        self.visual_bias = linear(width, 1, generator, bias=False)

    def forward(self, graph: HeteroData) -> Embeddings:
        features = item_feature_table(graph, self.modalities)
        one = self.user.new_ones(len(self.user), 1)
        user = torch.cat([self.user, self.taste, one], dim=1)
        item = torch.cat([self.item, self.project(features), self.visual_bias(features)], dim=1)
        return Embeddings(user, item)


def item_feature_table(graph: HeteroData, modalities: tuple[str, ...]) -> Tensor:
    """Features of all modalities side by side, each row scaled to length one, missing ones zero: [I, sum of d_m]."""
    blocks = []
    for modality in modalities:
        x = torch.nn.functional.normalize(graph[modality].x, dim=1)
        block = x.new_zeros(graph["item"].num_nodes, x.shape[1])
        blocks.append(block.index_copy(0, owners(graph, modality), x))
    if not blocks:
        return torch.zeros(graph["item"].num_nodes, 0)
    return torch.cat(blocks, dim=1)
