"""What every model offers. Letters: U users, I items, B a batch, d dimensions, E interactions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec import scratch
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS
from gnnrec.models.layerwise import mean_of_layers, unit_blocks
from gnnrec.models.unit import unit_rows
from gnnrec.ranking import Scorer, embedding_scorer
from gnnrec.subgraph import Sampler, sampler_of

TABLE_BYTES = 2**28  # of users and items together; with more they are made in blocks


class Embeddings(NamedTuple):
    """A user's score of an item is the inner product of their rows."""

    user: Tensor  # [U, d]
    item: Tensor  # [I, d]
    context: Tensor | None = None  # [I, d'] what having an item says of the next one; models that know order only
    # (users, items) twice, which the auxiliary loss holds against each other
    views: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None


class Smoothing(NamedTuple):
    """What is between free embeddings and embeddings, where that is light propagation and nothing else."""

    layers: int
    first: int  # of the layers 0 (the embeddings themselves) to `layers` that the mean is over
    unit: bool  # rows are brought to length one


class EmbeddingModel(nn.Module):
    """A model trained by gradients: `forward(graph)` gives everybody's embedding from the edges of that graph."""

    places_new_items = False  # whether items that join the graph after training get an embedding from their content
    places_new_users = False  # whether users that join it get one from their history
    takes_other_graphs = False  # whether its weights are of content alone, so that any items of such content will do
    # Tables of free embeddings -> whose rows they have.
    rows_of: Mapping[str, str] = MappingProxyType({"user": "user", "item": "item"})
    movable_tables = False  # whether it takes a `Draw` at the end, so that its tables can lie elsewhere (weights/)
    hops: int | None = None  # how far messages come, where it can be trained on pieces of the graph (subgraph.py)
    window: int = 0  # how many last items of its user `queries` looks at, beside what the interaction itself is of
    fitted_buffers: tuple[str, ...] = ()  # whose sizes are known only once `finish` chose them; empty before
    table_width: int | None = None  # dimensions of the tables that `in_blocks` makes; None where it is not offered

    def forward(self, graph: HeteroData) -> Embeddings:
        raise NotImplementedError

    @property
    def appended_width(self) -> int:
        """How many numbers `finish` put beside the `table_width` of each row."""
        return 0

    def check_fitted(self) -> None:
        """Raises ValueError where the fitted buffers of a file are none that `finish` could have made."""

    def begin(self, graph: HeteroData) -> None:
        """Before a training on this graph that starts from nothing: where the tables start, if not as drawn."""

    def smoothing(self) -> Smoothing | None:
        """Where there is one, embeddings can be made block by block (layerwise.py, and weights/blocks.py for several
        workers), from the tables user and item."""
        return None

    def sampler(self, graph: HeteroData, fanout: tuple[int, ...]) -> Sampler:
        """What draws the pieces of the graph that its training steps see."""
        return sampler_of(graph, fanout)

    def leave_source(self) -> None:
        """Before it goes to other data: drop what holds for the log alone that it was trained on. Nothing here."""

    def in_blocks(self, graph: HeteroData) -> Embeddings:
        """As `forward`, a layer and a block of rows at a time into scratch files, see layerwise.py."""
        smoothing = self.smoothing()
        assert smoothing is not None, "a model with table_width that is no light propagation makes its own"
        tables = self.get_parameter("user"), self.get_parameter("item")
        user, item = mean_of_layers(graph, *tables, smoothing.layers, smoothing.first)
        return Embeddings(unit_blocks(user), unit_blocks(item)) if smoothing.unit else Embeddings(user, item)

    def of_users(self, graph: HeteroData, users: slice) -> Embeddings:
        """As `forward`, of some users [B] and of all items; where the others' rows are more work, without that."""
        embeddings: Embeddings = self(graph)
        return embeddings._replace(user=embeddings.user[users])

    def asked(self, graph: HeteroData) -> Embeddings:
        """As `forward`, for a graph whose new items are queries, which may have a part of an item's content only."""
        embeddings: Embeddings = self(graph)
        return embeddings

    def queries(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        """The user side of the given training interactions (positions [B] in the graph's edges) -> [B, d].

        A model that knows the order of things returns the user as she was just before each interaction.
        """
        return embeddings.user[graph[INTERACTS].edge_index[0, interactions]]

    def finish(self, graph: HeteroData, measure: Callable[[Scorer], float]) -> None:
        """What is fitted after the gradients, by a measure of scores on validation. Nothing here."""

    def finish_like(self, graph: HeteroData, other: Any) -> None:
        """The same to this graph with what `other`, a model of this class, chose on validation. Nothing here."""

    def path_scores(self, graph: HeteroData) -> Scorer | None:
        """Scores [B, I] that are added to the inner products, if there are any."""
        return None

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        """What a training step starts from. A model whose `queries` needs no embedding of users may leave them out."""
        embeddings: Embeddings = self(graph)
        return embeddings

    def auxiliary_loss(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor | None:
        """What is added to the loss of a step on the given training interactions (positions [B]), if anything is."""
        return None

    def batches(self, graph: HeteroData, size: int, generator: Generator) -> tuple[Tensor, ...]:
        """Every training interaction once, in random order: positions in the graph's edges, `size` at a time."""
        order = torch.from_numpy(scratch.of_log((graph[INTERACTS].num_edges,), np.int64))
        return torch.randperm(len(order), generator=generator, out=order).split(size)


class ClosedFormModel(nn.Module):
    """A model computed at once from the training graph. It either scores or, if it can, gives embeddings.

    Its state are buffers whose sizes are known only after fitting, so loading replaces them.
    """

    places_new_users = True  # a user is her history in the graph

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


def embeddings_of(model: Model, graph: HeteroData) -> Embeddings:
    """Of everybody, without gradients, by a model that has them. Where a layer would take more than TABLE_BYTES, on a
    CPU, they are made in blocks and lie in scratch files, if the model can."""
    with torch.no_grad():
        if isinstance(model, EmbeddingModel) and _is_large(model, graph):
            return model.in_blocks(graph)
        embeddings: Embeddings = model(graph)
        return embeddings


def _is_large(model: EmbeddingModel, graph: HeteroData) -> bool:
    if model.table_width is None or graph[INTERACTS].edge_index.device.type != "cpu":
        return False
    width = model.table_width + model.appended_width
    return 4 * width * (graph["user"].num_nodes + graph["item"].num_nodes) > TABLE_BYTES


def model_scorer(model: Model, graph: HeteroData, embeddings: Embeddings | None = None) -> Scorer:
    """The ranking function of a trained model, with the interactions of `graph` as the users' histories.

    embeddings: what `embeddings_of` gave for the same graph, where it was asked already.
    """
    if has_embeddings(model):
        embeddings = embeddings or embeddings_of(model, graph)
        scorer = embedding_scorer(embeddings.user, embeddings.item)
        with torch.no_grad():
            paths = model.path_scores(graph) if isinstance(model, EmbeddingModel) else None
        return scorer if paths is None else summed(scorer, paths)
    assert isinstance(model, ClosedFormModel)

    def score(users: Tensor) -> Tensor:
        with torch.no_grad():
            return model.score(graph, users)

    return score


@torch.no_grad()
def user_scores(model: Model, graph: HeteroData, user: int) -> Tensor:
    """What `model_scorer` gives one user, without the rows of the others where the model can do without. [I]"""
    if not isinstance(model, EmbeddingModel) or _is_large(model, graph):
        return model_scorer(model, graph)(torch.tensor([user]))[0]
    embeddings = model.of_users(graph, slice(user, user + 1))
    scores = embedding_scorer(embeddings.user, embeddings.item)(torch.tensor([0]))[0]
    paths = model.path_scores(graph)
    return scores if paths is None else scores + paths(torch.tensor([user]))[0]


def summed(first: Scorer, second: Scorer) -> Scorer:
    """The scorer whose scores are the sums of two others'."""

    def score(users: Tensor) -> Tensor:
        with torch.no_grad():
            return first(users) + second(users)

    return score


Draw = Callable[[tuple[int, int], Generator], Tensor]
"""Draws a table [N, d] of standard normal numbers to where it is to lie, see weights/."""


def normal(shape: tuple[int, int], scale: float, generator: Generator, draw: Draw | None = None) -> nn.Parameter:
    """A parameter of rows with an expected length of `scale`; in memory unless it is told how to draw."""
    rows = torch.randn(shape, generator=generator) if draw is None else draw(shape, generator)
    return nn.Parameter(rows.mul_(scale).div_(shape[-1] ** 0.5))


def rows_of(table: Tensor, graph: HeteroData, node_type: str) -> Tensor:
    """The rows of a table of all nodes that are those of the graph: of a piece its own, with a sparse gradient.

    Where every worker has a block of the table (weights/shards.py), the piece knows the way to its rows.
    """
    store = graph[node_type]
    if "route" in store:
        rows: Tensor = store.route.look_up(table)
        return rows
    return F.embedding(store.n_id, table, sparse=True) if "n_id" in store else table


def similarity_space(embeddings: Embeddings, similarity: str) -> Embeddings:
    """Rows of length one for "cosine", as they are for "dot"."""
    if similarity == "dot":
        return embeddings
    return Embeddings(unit_rows(embeddings.user), unit_rows(embeddings.item))


def check_least(settings: object, **least: float) -> None:
    """Numbers of a model's settings and the least that each may be."""
    for name, value in least.items():
        if not getattr(settings, name) >= value:
            raise UserError(f"model.{name}: found {getattr(settings, name)}; allowed: {value} or more")


def check_above_zero(settings: object, name: str) -> None:
    if not getattr(settings, name) > 0:
        raise UserError(f"model.{name}: found {getattr(settings, name)}; allowed: above 0")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{name}: found {value!r}; allowed: {', '.join(allowed)}")


def check_order(graph: HeteroData, name: str) -> None:
    """For models that are nothing without the order of the log."""
    if "time" not in graph[INTERACTS]:
        raise UserError(
            f"model {name}: found no order among the training rows; allowed: data with timestamps, and a split whose "
            "validation rows come last (leave_last, user_time, global_time)"
        )
