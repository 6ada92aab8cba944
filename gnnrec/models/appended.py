"""Embeddings beside embeddings: the sum of two inner products is one of longer rows, so what is exported stays vectors.

Letters: U users, I items, n some of the users, d and f dimensions.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from torch import Tensor, cat
from torch_geometric.data import HeteroData

from gnnrec.models.base import Embeddings
from gnnrec.models.layerwise import Rows, covariance, made
from gnnrec.ranking import Scorer, embedding_scorer

Join = Callable[[Tensor, Tensor], Tensor]
"""Users [n, d] and what comes beside them [n, f] -> both [n, d + f]."""
Lengthen = Callable[[HeteroData, Tensor], Tensor]
"""A graph of n users' histories and their embeddings [n, d] -> longer ones."""


class Part(NamedTuple):
    """What comes beside other embeddings: users are made of their histories, items stand still."""

    item: Tensor  # [I, f]
    users: Callable[[HeteroData], Rows]  # of the histories in a graph: [n, f]
    weight: float

    def embeddings(self, graph: HeteroData, users: slice = slice(None)) -> Embeddings:
        rows = slice(*users.indices(graph["user"].num_nodes))
        return Embeddings(self.users(graph)(rows), self.item)


def appended(embeddings: Embeddings, more: Embeddings, weight: float) -> Embeddings:
    """Both side by side, [U, d + f] and [I, d + f]; at weight 1 the scores of both spread alike over a user's items."""
    join = _join(_covariance(embeddings.item), _covariance(more.item), weight)
    return embeddings._replace(user=join(embeddings.user, more.user), item=cat([embeddings.item, more.item], dim=1))


def appended_in_blocks(graph: HeteroData, embeddings: Embeddings, part: Part) -> Embeddings:
    """The same a block of rows at a time, into scratch files; see layerwise.py."""
    join, more = _join(covariance(embeddings.item), covariance(part.item), part.weight), part.users(graph)

    def users(rows: slice) -> Tensor:
        return join(embeddings.user[rows], more(rows))

    def items(rows: slice) -> Tensor:
        return cat([embeddings.item[rows], part.item[rows]], dim=1)

    width = embeddings.user.shape[1] + part.item.shape[1]
    return embeddings._replace(
        user=made((len(embeddings.user), width), users), item=made((len(embeddings.item), width), items)
    )


def user_side(item: Tensor, parts: Sequence[Part]) -> Lengthen:
    """How users are lengthened by all parts beside items [I, d] that stand still; what hangs on no history is made
    once."""
    joins = []
    for place, part in enumerate(parts):
        before = cat([item, *(earlier.item for earlier in parts[:place])], dim=1)
        joins.append((part.users, _join(_covariance(before), _covariance(part.item), part.weight)))

    def lengthen(graph: HeteroData, user: Tensor) -> Tensor:
        for users, join in joins:
            user = join(user, users(graph)(slice(0, len(user))))
        return user

    return lengthen


def best_beside(
    embeddings: Embeddings, tried: Iterable[Embeddings], weights: Sequence[float], measure: Callable[[Scorer], float]
) -> tuple[int, float] | None:
    """Which of those tried is best alone by `measure`, on validation, and with which weight it is best beside the
    embeddings. None where nothing is better than these by themselves."""
    place, best_alone, alone = -1, float("-inf"), embeddings
    for number, one in enumerate(tried):
        if (value := measure(scorer_of(one))) > best_alone:
            place, best_alone, alone = number, value, one
    if place < 0:
        return None
    best, chosen = measure(scorer_of(embeddings)), 0.0
    for weight in weights:
        if (value := measure(scorer_of(appended(embeddings, alone, weight)))) > best:
            best, chosen = value, weight
    return (place, chosen) if chosen else None


def scorer_of(embeddings: Embeddings) -> Scorer:
    return embedding_scorer(embeddings.user, embeddings.item)


def _join(of_items: Tensor, of_more: Tensor, weight: float) -> Join:
    """By the covariances of both sides' items, [d, d] and [f, f]."""

    def join(user: Tensor, more: Tensor) -> Tensor:
        scale = _spread(user, of_items) / _spread(more, of_more).clamp(min=1e-9)
        return cat([user, more * (weight * scale)[:, None]], dim=1)

    return join


def _covariance(item: Tensor) -> Tensor:
    centered = item - item.mean(dim=0)
    return centered.T @ centered / max(len(item) - 1, 1)


def _spread(user: Tensor, covariance: Tensor) -> Tensor:
    return (user @ covariance * user).sum(dim=1).clamp(min=0).sqrt()
