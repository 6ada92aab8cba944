"""tower: items by their content alone, users by what they had. No free embedding, so it goes wherever the content goes.

An item stands in two spaces side by side: its features as they are, each modality of length one, and what a linear map
makes of them; a user is the sum of her items in each. Beside them stands how popular an item of such content is. Map
and popularity are learnt by the trainer's softmax, an interaction's own item left out of its user's sum, so that no
item is foretold from itself. The features as they are keep apart what the map, on the catalogue that it learns from,
found no use for. Without training this is the mean of content, by cosine.

The item side is the content tower of Yi et al. 2019, "Sampling-bias-corrected neural modeling for large corpus item
recommendations", without ids; the user side is the pooling of Covington et al. 2016. Deviations: one linear layer in
the place of several, the same one on both sides, and no features of users.

Letters: U users, I items, B a batch, d dimensions of the learnt part, w of the features of all modalities.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, REV_INTERACTS, item_modalities, operator
from gnnrec.models.base import EmbeddingModel, Embeddings, check_least, normal
from gnnrec.models.sasrec import dropout
from gnnrec.models.unit import unit_rows
from gnnrec.models.vbpr import item_feature_table


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    dim: int = 64  # of the learnt part
    content: float = 1.0  # weight of the features as they are, beside the learnt part
    popularity: bool = True  # foretell how popular an item of such content is; it stays behind on other data
    dropout: float = 0.3  # of the features that the learnt part is made of

    def __post_init__(self) -> None:
        check_least(self, dim=1, content=0.0)
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout: found {self.dropout}; allowed: from 0, below 1")


class Tower(EmbeddingModel):
    places_new_items = places_new_users = takes_other_graphs = True

    def __init__(self, config: TowerConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.modalities = item_modalities(graph)
        width = item_feature_table(graph, self.modalities).shape[1]
        self.project = nn.Parameter(torch.randn(width, config.dim, generator=generator) / config.dim**0.5)
        self.popularity = nn.Parameter(torch.zeros(width, 1))
        self.unknown = normal((1, config.dim), 1.0, generator)  # where an item stands that has no content

    def forward(self, graph: HeteroData) -> Embeddings:
        item, context = self._items(graph, None)
        return Embeddings(self._users(_sums(graph, context)), item, context)

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        """Users as plain sums, of which `queries` takes an interaction's own item out."""
        item, context = self._items(graph, generator)
        return Embeddings(_sums(graph, context), item, context)

    def queries(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        assert embeddings.context is not None
        users, items = graph[INTERACTS].edge_index[:, interactions]
        return self._users(embeddings.user[users] - embeddings.context[items])

    @torch.no_grad()
    def leave_source(self) -> None:
        self.popularity.zero_()

    def _items(self, graph: HeteroData, generator: Generator | None) -> tuple[Tensor, Tensor]:
        """Items as they are scored [I, d + w + 1], and as they are summed up in who had them [I, d + w]."""
        features = item_feature_table(graph, self.modalities)  # [I, w]
        seen = features if generator is None else dropout(features, self.config.dropout, generator)
        known = features.any(dim=1, keepdim=True)
        learnt, plain = unit_rows(torch.where(known, seen @ self.project, self.unknown)), unit_rows(features)
        popularity = seen @ self.popularity if self.config.popularity else features.new_zeros(len(features), 1)
        item = torch.cat([learnt, self.config.content * plain, popularity], dim=1)
        return item, torch.cat([learnt, plain], dim=1)

    def _users(self, sums: Tensor) -> Tensor:
        """Sums over items, [B, d + w], each part of length one, and the constant that popularity is scored by."""
        learnt, features = sums.split([self.config.dim, sums.shape[1] - self.config.dim], dim=1)
        return torch.cat([unit_rows(learnt), unit_rows(features), sums.new_ones(len(sums), 1)], dim=1)


def mean_of_content(graph: HeteroData) -> Embeddings:
    """The tower without its learnt part: a user is the mean of the features of what she had, by cosine."""
    features = unit_rows(item_feature_table(graph, item_modalities(graph)))
    return Embeddings(unit_rows(_sums(graph, features)), features)


def _sums(graph: HeteroData, context: Tensor) -> Tensor:
    """Of the items that each user had, each once. [I, d] -> [U, d]"""
    return operator(graph, REV_INTERACTS, "none") @ context
