"""What every model offers. Letters: U users, I items, B a batch, d dimensions, E interactions."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.ranking import Scorer, embedding_scorer


class Embeddings(NamedTuple):
    """A user's score of an item is the inner product of their rows."""

    user: Tensor  # [U, d]
    item: Tensor  # [I, d]
    context: Tensor | None = None  # [I, d'] what having an item says of the next one; models that know order only


class EmbeddingModel(nn.Module):
    """A model trained by gradients: `forward(graph)` gives everybody's embedding from the edges of that graph."""

    places_new_items = False  # whether items that join the graph after training get an embedding from their content

    def forward(self, graph: HeteroData) -> Embeddings:
        raise NotImplementedError

    def queries(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        """The user side of the given training interactions (positions [B] in the graph's edges) -> [B, d].

        A model that knows the order of things returns the user as she was just before each interaction.
        """
        return embeddings.user[graph["user", "interacts", "item"].edge_index[0, interactions]]


class ClosedFormModel(nn.Module):
    """A model computed at once from the training graph. It either scores or, if it can, gives embeddings.

    Its state are buffers whose sizes are known only after fitting, so loading replaces them.
    """

    def fit_closed_form(self, graph: HeteroData) -> None:
        raise NotImplementedError

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        """Scores [B, I] of users [B] by their interactions in `graph`."""
        raise NotImplementedError

    def load_buffers(self, state: dict[str, Tensor]) -> None:
        """Take the state of a fitted model of the same kind."""
        expected = set(self.state_dict())
        if set(state) != expected:
            raise UserError(f"weights: found {sorted(state)}; allowed for {type(self).__name__}: {sorted(expected)}")
        for name, value in state.items():
            self.register_buffer(name, value)


class ClosedFormEmbeddingModel(ClosedFormModel):
    """A closed-form model whose scores are inner products, so that it can be exported and indexed."""

    def forward(self, graph: HeteroData) -> Embeddings:
        raise NotImplementedError

    def score(self, graph: HeteroData, users: Tensor) -> Tensor:
        embeddings: Embeddings = self(graph)
        return embeddings.user[users] @ embeddings.item.T


Model = EmbeddingModel | ClosedFormModel


def has_embeddings(model: Model) -> bool:
    return isinstance(model, EmbeddingModel | ClosedFormEmbeddingModel)


def model_scorer(model: Model, graph: HeteroData) -> Scorer:
    """The ranking function of a trained model, with the interactions of `graph` as the users' histories."""
    with torch.no_grad():
        if has_embeddings(model):
            embeddings: Embeddings = model(graph)
            return embedding_scorer(embeddings.user, embeddings.item)
    assert isinstance(model, ClosedFormModel)

    def score(users: Tensor) -> Tensor:
        with torch.no_grad():
            return model.score(graph, users)

    return score


def normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> nn.Parameter:
    """A parameter of rows with an expected length of `scale`."""
    return nn.Parameter(torch.randn(shape, generator=generator) * scale / shape[-1] ** 0.5)


def similarity_space(embeddings: Embeddings, similarity: str) -> Embeddings:
    """Rows of length one for "cosine", as they are for "dot"."""
    if similarity == "dot":
        return embeddings
    return Embeddings(F.normalize(embeddings.user, dim=1), F.normalize(embeddings.item, dim=1))


def check_least(settings: object, **least: float) -> None:
    """Numbers of a model's settings and the least that each may be."""
    for name, value in least.items():
        if not getattr(settings, name) >= value:
            raise UserError(f"model.{name}: found {getattr(settings, name)}; allowed: {value} or more")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}: found {value!r}; allowed: {', '.join(allowed)}")
