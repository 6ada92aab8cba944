"""What is sent to a target and what comes back: refused where it cannot be right, and asked for its ten best.

Letters: n users, U users, I items, d dimensions, k places.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np

from gnnrec.errors import UserError, count
from gnnrec.export import Exported, Vectors

CUT = 10
MOST_USERS = 200
CLOSE = 1e-5  # relative; sums of float32 in another order

Search = Callable[[Vectors, int], list[list[str]]]
"""Queries [n, d], k -> the ids of the k items with the highest inner products, best first, for each query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How a target answered."""

    recall: float
    users: int
    milliseconds: float  # of one query, median

    def __str__(self) -> str:
        asked = count(self.users, "user")
        return f"recall@{CUT} {self.recall:.4f} against the exact search ({asked}), {self.milliseconds:.1f} ms a query"


def check_embeddings(embeddings: Exported, where: str) -> None:
    """Raise UserError for ids that are not unique, numbers that are not finite, vectors of several lengths."""
    sides = ("users", embeddings.user_ids, embeddings.user), ("items", embeddings.item_ids, embeddings.item)
    for side, ids, vectors in sides:
        if len(set(ids)) < len(ids):
            twice = sorted(np.unique(ids, return_counts=True)[0][np.unique(ids, return_counts=True)[1] > 1])[0]
            raise UserError(f"{where}: {side}: the id {str(twice)!r} is there twice; ids have to be unique")
        if not np.isfinite(vectors).all():
            row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
            raise UserError(f"{where}: {side}: the vector of {ids[row]!r} is not of finite numbers")
    if embeddings.user.shape[1] != embeddings.item.shape[1]:
        found = f"{embeddings.user.shape[1]} dimensions of users, {embeddings.item.shape[1]} of items"
        raise UserError(f"{where}: {found}; users and items of one export have the same")


def check_answers(search: Search, queries: Vectors, exact: Exported) -> Answers:
    """Ask for the ten best of up to MOST_USERS users and compare with the exact search over `exact`.

    queries [U, d]: the users' vectors as the target knows them, row by row those of `exact`. An answer counts where its
    exact inner product reaches the tenth best one, so that it does not matter which of equal items stands there (as in
    ann-benchmarks, Aumüller et al. 2018).
    """
    from gnnrec.ranking import embedding_scorer, top_k

    users = np.unique(np.linspace(0, len(queries) - 1, min(MOST_USERS, len(queries))).astype(np.int64))
    user, item = exact.user[users], exact.item
    k = min(CUT, len(item))
    scores = top_k(embedding_scorer(*_tensors(user, item)), np.arange(len(users)), k).scores.numpy()
    place = {name: row for row, name in enumerate(exact.item_ids)}
    hits, times = 0, []
    for row, vector, least in zip(user, queries[users], scores[:, -1]):
        began = perf_counter()
        (found,) = search(vector[None], k)
        times.append(perf_counter() - began)
        known = item[[place[name] for name in set(found[:k]) if name in place]]
        hits += int((known @ row >= least - CLOSE * max(1.0, abs(float(least)))).sum())
    return Answers(recall=hits / (k * len(users)), users=len(users), milliseconds=1000 * median(times))
