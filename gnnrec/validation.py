"""What a model or a scorer is worth on validation: one metric, each worker ranking for its share of the users."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec import metrics
from gnnrec.datasets.interactions import Interactions
from gnnrec.models import model_scorer
from gnnrec.ranking import Ranking, Scorer, top_k, unseen
from gnnrec.workers import world

Rank = Callable[[Tensor, int, csr_array], Ranking]  # users [n], length of the lists, what they have seen


def validation_metric(model: Any, graph: HeteroData, train: Interactions, val: Interactions, metric: str) -> float:
    """Mean of one metric ("ndcg@20") over the users with a positive in `val`; training items are masked."""
    return ranking_metric(model_scorer(model, graph), train, val, metric)


def ranking_metric(scorer: Scorer, train: Interactions, val: Interactions, metric: str) -> float:
    """`validation_metric` of scores [B, I] of users [B]."""
    return ranked_metric(lambda users, k, seen: top_k(scorer, users, k, seen), train, val, metric)


def ranked_metric(rank: Rank, train: Interactions, val: Interactions, metric: str) -> float:
    """The same of lists. All workers call `rank` at once, each for its share of the users."""
    name, k = metric.split("@")
    seen = train.matrix()
    relevant = unseen(val.matrix(), seen)
    users = np.flatnonzero(np.diff(relevant.indptr))
    workers, values = world(), np.zeros(len(users))
    share = slice(workers.rank, None, workers.size)
    mine = users[share]
    ranking = rank(torch.from_numpy(mine), int(k), seen)
    hits = metrics.hits_of(ranking.items.numpy(), mine, relevant)
    values[share] = metrics.METRICS[name](hits, np.diff(relevant.indptr)[mine], int(k))
    return float(workers.sum(torch.from_numpy(values)).numpy().mean())  # the same bits for any number of workers
