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
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, interactions_of
from gnnrec.models.appended import Part, best_beside
from gnnrec.models.base import Embeddings
from gnnrec.models.ials import both_factors, item_factors, user_factors
from gnnrec.models.layerwise import Rows
from gnnrec.ranking import Scorer

WEIGHTS = (0.25, 0.5, 1.0)  # tried, after none; the graph's own scores weigh 1
SETTINGS = ((10.0, 5.0), (30.0, 10.0), (100.0, 20.0))  # tried: l2 and confidence of iALS
DIM, ITERATIONS, SEED = 64, 20, 0
START = (10.0, 5.0, 5)  # l2, confidence and rounds of the iALS that tables start from
MAX_INTERACTIONS = 5_000_000


class Factors(NamedTuple):
    """iALS of a log by one of SETTINGS."""

    item: Tensor  # [I, f]
    l2: float
    confidence: float


@torch.no_grad()
def start_from_factors(graph: HeteroData, user: nn.Parameter, item: nn.Parameter, length: float) -> None:
    """Set tables [U, d] and [I, d] to the factors of a few rounds of iALS, rows of the given mean length: gradients
    then begin near lists that took them many epochs from a random start (NOTES). Not for logs of more than
    MAX_INTERACTIONS. Who has no interactions keeps the row that was drawn."""
    log = interactions_of(graph).matrix()
    if log.nnz > MAX_INTERACTIONS:
        return
    for table, rows in zip((user, item), both_factors(log, user.shape[1], *START, SEED)):
        known = rows.abs().sum(1) > 0
        table[known] = (rows[known] / rows[known].norm(dim=1).mean() * length).to(table)


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
    found = best_beside(embeddings, (factor_embeddings(graph, *one) for one in tried), WEIGHTS, measure)
    if found is None:
        return None
    place, weight = found
    return tried[place].item, torch.tensor([weight, *tried[place][1:]])


def factors_like(tried: Sequence[Factors], settings: Tensor) -> tuple[Tensor, Tensor]:
    """Those of `tried` that settings, as of `choose_factors` for another log, name; with these. The same SETTINGS."""
    _, l2, confidence = settings.tolist()
    (item,) = (found.item for found in tried if (found.l2, found.confidence) == (l2, confidence))
    return item, settings


def middle_one(graph: HeteroData, tried: Sequence[Factors]) -> Embeddings | None:
    """What the log alone says of users and items, by the middle one of SETTINGS."""
    return factor_embeddings(graph, *tried[len(tried) // 2]) if tried else None


def factors_part(item: Tensor, settings: Tensor, num_items: int) -> Part:
    """The chosen factors as what comes beside embeddings, users solved from their histories. Items that joined later,
    up to `num_items`, have none."""
    weight, l2, confidence = settings.tolist()
    length = item.norm(dim=1).sum().div(num_items).clamp(min=1e-9)
    padded = F.pad(item, (0, 0, 0, num_items - len(item)))

    def users(graph: HeteroData) -> Rows:
        history = interactions_of(graph).matrix()
        return lambda rows: user_factors(history[rows], padded.cpu(), l2, confidence).to(item.device) * length

    return Part(padded / length, users, weight)


def factor_embeddings(graph: HeteroData, item: Tensor, l2: float, confidence: float) -> Embeddings:
    """iALS with items of mean length 1, as the graph's unit rows are. `item` [I, f]"""
    return factors_part(item, torch.tensor([1.0, l2, confidence]), len(item)).embeddings(graph)
