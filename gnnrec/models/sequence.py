"""The sequence beside the graph of modality_gnn: SASRec with its own tables and its own loss, in the same steps.

A transformer over a user's last items errs elsewhere than messages over the graph and paths in closed form do, so the
sum of their scores makes better lists where the log has an order (NOTES). Nothing is shared but the steps: each part
learns as it would alone, so that neither can lean on the other. Scores are inner products, so both stand side by side
in longer rows; they count alike, a user's scores of either spreading over the items by the same amount.

Items without training interactions have rows of zeros: their free embeddings say nothing.

Letters: U users, I items, B a batch, K negatives, d dimensions.
"""

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, num_interactions
from gnnrec.losses import catalogue_softmax, shared_softmax
from gnnrec.models.appended import appended
from gnnrec.models.base import Embeddings
from gnnrec.models.sasrec import SASRec, SASRecConfig
from gnnrec.ranking import fast_bfloat16

DROPOUT, TEMPERATURE = 0.3, 0.07  # those that were best for sasrec alone on the validation rows of movies
WHOLE_CATALOGUE, NEGATIVES = 8_192, 4_096  # as of training.TrainConfig


class Sequence(SASRec):
    trained: Tensor  # [I] who has training interactions

    def __init__(self, dim: int, graph: HeteroData, generator: Generator) -> None:
        super().__init__(SASRecConfig(dim=dim, dropout=DROPOUT), graph, generator)
        self.register_buffer("trained", num_interactions(graph, "item") > 0)

    def item_rows(self, graph: HeteroData) -> Tensor:
        rows = super().item_rows(graph)
        return rows * torch.nn.functional.pad(self.trained, (0, len(rows) - len(self.trained)))[:, None]

    def loss(self, graph: HeteroData, interactions: Tensor) -> Tensor:
        """Mean over the given training interactions (positions [B]): softmax against all trained items, or against
        negatives that are the same for all where these are many."""
        embeddings = self.items_alone(graph)
        query = self.queries(graph, embeddings, interactions) / TEMPERATURE
        target, candidates = graph[INTERACTS].edge_index[1, interactions], self.trained.nonzero().squeeze(1)
        low = fast_bfloat16(query.device)
        if len(candidates) <= WHOLE_CATALOGUE:
            place = self.trained.cumsum(0) - 1  # of a trained item among these
            return catalogue_softmax(query, embeddings.item[candidates], place[target], low)
        # The same batch draws the same negatives, so that a resumed training goes on bit for bit.
        generator = Generator().manual_seed(int(interactions.sum()))
        drawn = candidates[torch.randint(len(candidates), (NEGATIVES,), generator=generator).to(query.device)]
        stands_for, item = (len(candidates) - 1) / NEGATIVES, embeddings.item
        return shared_softmax(query, item[target], item[drawn], target, drawn, stands_for, low)

    def beside(self, graph: HeteroData, embeddings: Embeddings, users: slice = slice(None)) -> Embeddings:
        """The embeddings of these users [B] with this part's appended: [B, d + s], [I, d + s]."""
        more = self(graph)
        return appended(embeddings, more._replace(user=more.user[users]), 1.0)
