"""What is sent to a target and what comes back: refused where it cannot be right, and asked for its ten best.

Letters: n users, U users, I items, d dimensions, k places.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError, count
from gnnrec.export import Exported, Vectors, import_embeddings, search_index

CUT = 10
MOST_USERS = 200
CLOSE = 1e-5  # relative; sums of float32 in another order

Search = Callable[[Vectors, int], list[list[str]]]
"""Queries [n, d], k -> the ids of the k items with the highest inner products, best first, for each query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How a target answered."""

    recall: float  # at CUT
    users: int
    milliseconds: float  # of one query, mean

    def to_json(self) -> dict[str, float | int]:
        return {f"recall@{CUT}": self.recall, "users": self.users, "milliseconds": self.milliseconds}

    def __str__(self) -> str:
        asked = count(self.users, "user")
        return f"recall@{CUT} {self.recall:.4f} against the exact search ({asked}), {self.milliseconds:.1f} ms a query"


def check_embeddings(embeddings: Exported, where: str) -> None:
    """Raise UserError for ids that are not unique, numbers that are not finite, vectors of several lengths."""
    sides = ("users", embeddings.user_ids, embeddings.user), ("items", embeddings.item_ids, embeddings.item)
    for side, ids, vectors in sides:
        if len(set(ids)) < len(ids):
            (name, times), *_ = Counter(ids).most_common(1)
            raise UserError(f"{where}: {side}: the id {name!r} is there {times} times; ids have to be unique")
        if len(broken := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            raise UserError(f"{where}: {side}: the vector of {ids[broken[0]]!r} is not of finite numbers")
    if embeddings.user.shape[1] != embeddings.item.shape[1]:
        found = f"{embeddings.user.shape[1]} dimensions of users, {embeddings.item.shape[1]} of items"
        raise UserError(f"{where}: {found}; users and items of one export have the same")


def check_answers(search: Search, queries: Vectors, exact: Exported) -> Answers:
    """Ask for the ten best of up to MOST_USERS users and compare with the exact search over `exact`.

    queries [U, d]: the users' vectors as the target has them, row by row those of `exact`. An answer counts where its
    exact inner product reaches the tenth best one, so that it does not matter which of equal items stands there (as in
    ann-benchmarks, Aumüller et al. 2018).
    """
    users = np.unique(np.linspace(0, len(queries) - 1, min(MOST_USERS, len(queries))).astype(np.int64))
    k = min(CUT, len(exact.item))
    best = exact_best(exact.user[users], exact.item, k)
    began = perf_counter()
    answers = search(queries[users], k)
    seconds = perf_counter() - began
    place, hits = {name: row for row, name in enumerate(exact.item_ids)}, 0
    for user, lists, answer in zip(exact.user[users].astype(np.float64), best, answers):
        least = (exact.item[lists] @ user).min()
        known = [place[name] for name in set(answer[:k]) if name in place]
        hits += int((exact.item[known] @ user >= least - CLOSE * abs(least)).sum())
    return Answers(recall=hits / best.size, users=len(users), milliseconds=1000 * seconds / len(users))


def check_files(folder: Path, format: str, exact: Exported) -> Answers:
    """The same for what `export_embeddings` wrote: its index, or an exact search over what is read back."""
    back = import_embeddings(folder, format)

    def search(queries: Vectors, k: int) -> list[list[str]]:
        return [[back.item_ids[item] for item in exact_best(query[None], back.item, k)[0]] for query in queries]

    return check_answers(partial(search_index, folder) if format.startswith("faiss") else search, back.user, exact)


def exact_best(user: Vectors, item: Vectors, k: int) -> NDArray[np.int64]:
    """The k items with the highest inner products for each user [n, d], best first. [n, k]"""
    import torch

    from gnnrec.ranking import embedding_scorer, top_k

    scorer = embedding_scorer(*(torch.from_numpy(np.require(rows, requirements="W")) for rows in (user, item)))
    return top_k(scorer, np.arange(len(user)), k).items.numpy()
