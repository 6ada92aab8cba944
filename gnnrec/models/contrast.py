"""The contrastive loss of models that hold two views of the graph against each other."""

from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS
from gnnrec.losses import info_nce
from gnnrec.models.base import Embeddings


def contrast(graph: HeteroData, embeddings: Embeddings, interactions: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the users and of the items of a batch (positions [B]), summed: the same one in both views against
    the others of the batch in the second."""
    assert embeddings.views is not None
    total = embeddings.user.new_zeros(())
    for side, first, second in zip(graph[INTERACTS].edge_index, *embeddings.views):
        there = side[interactions].unique()
        total = total + info_nce(first[there], second[there], temperature)
    return total
