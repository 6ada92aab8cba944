"""Folding in: users by their histories alone, while the items stand still (Sarwar et al. 2002).

A history that has grown, or one of somebody who never was in the graph, gets scores within milliseconds and without
training. Closed-form models, sasrec, tower and modality_gnn compute just what they would for such a user (modality_gnn
but for how the items would move by a few more interactions). Users of the others are free embeddings: a linear map by
least squares takes the mean of a history's items to what training made of its user.

Letters: U users, I items, d dimensions, B histories.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import FRIEND, INTERACTS, REV_INTERACTS, add_interactions, operator
from gnnrec.models.appended import user_side
from gnnrec.models.base import ClosedFormModel, EmbeddingModel, Embeddings, Model, summed
from gnnrec.models.modality_gnn import ModalityGNN
from gnnrec.models.sasrec import SASRec
from gnnrec.models.tower import Tower
from gnnrec.models.unit import unit_rows
from gnnrec.ranking import Scorer, embedding_scorer
from gnnrec.recency import histories_of

Place = Callable[[HeteroData, Tensor], Tensor]
"""A graph of B users' histories and their indexes in the run, -1 for somebody new [B] -> their embeddings [B, d]."""


class FoldIn:
    """Ready to score any history of items by one model; what does not depend on the history is made once."""

    @torch.no_grad()
    def __init__(self, model: Model, graph: HeteroData) -> None:
        """graph: with everything known as histories."""
        self.model, self.ordered = model, "time" in graph[INTERACTS]
        if isinstance(model, EmbeddingModel):
            embeddings: Embeddings = model(graph)
            self.item = embeddings.item
            self.place = _place(model, graph, embeddings)

    @torch.no_grad()
    def scorer(self, users: Sequence[int], histories: Interactions) -> Scorer:
        """Of B histories, made by `history_log`: rows 0 to B - 1 of it are theirs.

        users: the index of each one's user in the run, -1 for somebody new. [B]
        """
        graph, model = self._graph(histories), self.model
        if isinstance(model, ClosedFormModel):
            return lambda rows: model.score(graph, rows)
        scorer = embedding_scorer(self.place(graph, torch.tensor(users)), self.item)
        paths = model.path_scores(graph)
        return scorer if paths is None else summed(scorer, paths)

    @torch.no_grad()
    def vectors(self, users: Sequence[int], histories: Interactions) -> Tensor:
        """The embeddings of the same users. [B, d] Raises UserError for a closed-form model, which has none."""
        if not isinstance(self.model, EmbeddingModel):
            raise UserError("a model in closed form scores histories without embedding them")
        return self.place(self._graph(histories), torch.tensor(users))

    def _graph(self, histories: Interactions) -> HeteroData:
        return _graph_of(histories if self.ordered else histories.unordered())


def history_log(histories: Sequence[Sequence[int]], num_items: int) -> Interactions:
    """Histories of item indexes, the oldest first, as the log of as many users. A step of each takes a second."""
    sizes = np.array([len(history) for history in histories])
    step = np.concatenate([np.arange(size) for size in sizes])
    user, item = np.repeat(np.arange(len(sizes)), sizes), np.concatenate([np.asarray(part) for part in histories])
    order = np.argsort(step, kind="stable")
    return Interactions(
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        num_users=len(sizes),
        num_items=num_items,
        timestamp=step[order].astype(np.int64),
    )


def _graph_of(log: Interactions) -> HeteroData:
    """Users and items and nothing else between them than this log."""
    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = log.num_users, log.num_items
    add_interactions(graph, log)
    return graph


def _place(model: EmbeddingModel, graph: HeteroData, embeddings: Embeddings) -> Place:
    if isinstance(model, ModalityGNN):
        return _place_by_graph(model, graph)
    if isinstance(model, SASRec):  # its users are nothing but their histories
        return lambda histories, users: model(histories).user
    if isinstance(model, Tower):
        context = embeddings.context
        assert context is not None
        return lambda histories, users: model._users(operator(histories, REV_INTERACTS, "none") @ context)
    return _place_by_least_squares(graph, embeddings)


def _place_by_graph(model: ModalityGNN, graph: HeteroData) -> Place:
    """The user's side of modality_gnn: her own start, what her items say at every depth, her friends; then her
    short-term interest, factors and waves. A depth is linear in the items, so their sum over the depths is kept."""
    depths = model.config.layers + 1
    user = start = model._user_start(graph)
    item = model._item_start(graph)
    to_user, to_item = operator(graph, REV_INTERACTS, "symmetric"), operator(graph, INTERACTS, "symmetric")
    said = torch.zeros_like(item)
    for _ in range(model.config.layers):
        said += item
        user, item = to_user @ item, to_item @ user
    own = start / depths  # [U, d]
    if model.config.friend and FRIEND in graph.edge_types:
        own = own + model.config.friend * (operator(graph, FRIEND, "mean") @ start)
    whole = own + to_user @ said / depths
    average = whole.mean(0)
    said = said / (depths * _root_degree(graph, INTERACTS))  # [I, d]
    own = torch.cat([own, torch.zeros_like(own[:1])])  # the last row is somebody new's
    long_term = model._long_term(graph)
    sequence = [] if model.sequence is None else [model.sequence.items_alone(graph).item]
    standing = torch.cat([long_term.item, *sequence], dim=1)
    lengthen = user_side(standing, model.parts(len(standing)))

    def place(histories: HeteroData, users: Tensor) -> Tensor:
        heard = operator(histories, REV_INTERACTS, "none") @ said / _root_degree(histories, REV_INTERACTS)
        rows = own[users] + heard
        rows = unit_rows(torch.where(rows.abs().sum(1, keepdim=True) == 0, average, rows))
        if model.bias is not None:
            rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        found = long_term._replace(user=rows)
        if model.ordered:
            everybody = torch.arange(len(rows))
            found = found._replace(user=model.with_interest(histories, found, everybody, histories_of(histories).size))
        if model.sequence is not None:
            found = model.sequence.beside(histories, found)
        return lengthen(histories, found.user)

    return place


def _root_degree(graph: HeteroData, edge_type: tuple[str, str, str]) -> Tensor:
    """Of the nodes that an edge type points to, repeated pairs counted once, and 1 where there is none. [n, 1]"""
    degree: Tensor = operator(graph, edge_type, "none").offsets.diff()
    return degree.clamp(min=1).sqrt()[:, None]


def _place_by_least_squares(graph: HeteroData, embeddings: Embeddings) -> Place:
    """A known user moves as the map moves her history; somebody new stands where it puts hers."""
    items = embeddings.item
    mean = operator(graph, REV_INTERACTS, "mean") @ items  # [U, d]
    ridge = 1e-3 * mean.square().sum(0).mean() * torch.eye(mean.shape[1])
    weights = torch.linalg.solve(mean.T @ mean + ridge, mean.T @ embeddings.user)
    rest = embeddings.user - mean @ weights
    rest = torch.cat([rest, torch.zeros_like(rest[:1])])

    def place(histories: HeteroData, users: Tensor) -> Tensor:
        return rest[users] + operator(histories, REV_INTERACTS, "mean") @ items @ weights

    return place
