"""A matrix factorization beside the graph: iALS (ials.py), appended to the embeddings as far as validation wants it.

Squared error on all cells errs elsewhere than a softmax on unit rows does, above all in how much everybody takes what
is popular, so the sum of both makes better lists on some logs (NOTES). The sum of two inner products is one of longer
rows: what is exported and served stays embeddings. A user's part is solved from her history in the given graph.

Letters: U users, I items, f factors.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, interactions_of
from gnnrec.models.base import Embeddings
from gnnrec.models.ials import item_factors, user_factors
from gnnrec.models.layerwise import covariance, made
from gnnrec.ranking import Scorer, embedding_scorer

WEIGHTS = (0.25, 0.5, 1.0)  # tried, after none; the graph's own scores weigh 1
SETTINGS = ((10.0, 5.0), (30.0, 10.0), (100.0, 20.0))  # tried: l2 and confidence of iALS
DIM, ITERATIONS, SEED = 64, 20, 0
MAX_INTERACTIONS = 5_000_000


class Factors(NamedTuple):
    """iALS of a log by one of SETTINGS."""

    item: Tensor  # [I, f]
    l2: float
    confidence: float


def fit_factors(graph: HeteroData) -> list[Factors]:
    """By each of SETTINGS; none for logs of more than MAX_INTERACTIONS, where it would take longer than a training."""
    log, device = interactions_of(graph).matrix(), graph[INTERACTS].edge_index.device
    if log.nnz > MAX_INTERACTIONS:
        return []
    return [Factors(item_factors(log, DIM, *how, ITERATIONS, SEED).to(device), *how) for how in SETTINGS]


def choose_factors(
    graph: HeteroData, embeddings: Embeddings, tried: Sequence[Factors], measure: Callable[[Scorer], float]
) -> tuple[Tensor, Tensor] | None:
    """Item factors [I, f] and (weight, l2, confidence) [3] that are best by `measure`, on validation.

    The settings of iALS are those that are best alone. None where nothing is better than the embeddings, or tried.
    """
    if not tried:
        return None
    alone = [factor_embeddings(graph, *found) for found in tried]
    values = [measure(_scorer(found)) for found in alone]
    place = values.index(max(values))
    best, chosen = measure(_scorer(embeddings)), 0.0
    for weight in WEIGHTS:
        if (value := measure(_scorer(appended(embeddings, alone[place], weight)))) > best:
            best, chosen = value, weight
    return (tried[place].item, torch.tensor([chosen, *tried[place][1:]])) if chosen else None


def factors_like(tried: Sequence[Factors], settings: Tensor) -> tuple[Tensor, Tensor]:
    """Those of `tried` that settings, as of `choose_factors` for another log, name; with these. The same SETTINGS."""
    _, l2, confidence = settings.tolist()
    (item,) = (found.item for found in tried if (found.l2, found.confidence) == (l2, confidence))
    return item, settings


def middle_one(graph: HeteroData, tried: Sequence[Factors]) -> Embeddings | None:
    """What the log alone says of users and items, by the middle one of SETTINGS."""
    return factor_embeddings(graph, *tried[len(tried) // 2]) if tried else None


def with_factors(graph: HeteroData, embeddings: Embeddings, item: Tensor, settings: Tensor) -> Embeddings:
    """The embeddings with the chosen factors appended, users solved from their histories in the graph. [U, d + f], …

    Items that joined later have no factors.
    """
    weight, l2, confidence = settings.tolist()
    padded = F.pad(item, (0, 0, 0, len(embeddings.item) - len(item)))
    return appended(embeddings, factor_embeddings(graph, padded, l2, confidence), weight)


def factor_embeddings(graph: HeteroData, item: Tensor, l2: float, confidence: float) -> Embeddings:
    """iALS with items of mean length 1, as the graph's unit rows are. `item` [I, f]"""
    user = user_factors(interactions_of(graph).matrix(), item.cpu(), l2, confidence).to(item.device)
    length = item.norm(dim=1).mean().clamp(min=1e-9)
    return Embeddings(user * length, item / length)


def appended(embeddings: Embeddings, more: Embeddings, weight: float) -> Embeddings:
    """Both side by side, [U, d + f] and [I, d + f]; at weight 1 the scores of both spread alike over a user's items."""
    scale = spread(embeddings.user, embeddings.item) / spread(more.user, more.item).clamp(min=1e-9)
    user = more.user * (weight * scale)[:, None]
    return embeddings._replace(
        user=torch.cat([embeddings.user, user], dim=1), item=torch.cat([embeddings.item, more.item], dim=1)
    )


def spread(user: Tensor, item: Tensor) -> Tensor:
    """Standard deviation of each user's scores over the items, sqrt(u' Cov(items) u). [U]"""
    centered = item - item.mean(dim=0)
    return spread_by(user, centered.T @ centered / max(len(item) - 1, 1))


def spread_by(user: Tensor, covariance: Tensor) -> Tensor:
    return (user @ covariance * user).sum(dim=1).clamp(min=0).sqrt()


def factors_in_blocks(graph: HeteroData, embeddings: Embeddings, item: Tensor, settings: Tensor) -> Embeddings:
    """As `with_factors`, a block of rows at a time, see layerwise.py."""
    weight, l2, confidence = settings.tolist()
    padded, history = F.pad(item, (0, 0, 0, len(embeddings.item) - len(item))), interactions_of(graph).matrix()
    length = padded.norm(dim=1).mean().clamp(min=1e-9)
    of_items, of_factors = covariance(embeddings.item), covariance(padded / length)

    def users(rows: slice) -> Tensor:
        user, more = embeddings.user[rows], user_factors(history[rows], padded, l2, confidence) * length
        scale = spread_by(user, of_items) / spread_by(more, of_factors).clamp(min=1e-9)
        return torch.cat([user, more * (weight * scale)[:, None]], dim=1)

    def items(rows: slice) -> Tensor:
        return torch.cat([embeddings.item[rows], padded[rows] / length], dim=1)

    sizes = (len(side) for side in (embeddings.user, embeddings.item))
    width = embeddings.user.shape[1] + item.shape[1]
    user, item = (made((size, width), rows_of) for size, rows_of in zip(sizes, (users, items)))
    return embeddings._replace(user=user, item=item)


def _scorer(embeddings: Embeddings) -> Scorer:
    return embedding_scorer(embeddings.user, embeddings.item)
