"""Windows to train a reranker on: a thing that a user took, among candidates that the graph holds for about as good.

Only train rows are seen: as what was taken, as the past before it, and as what is no candidate. The negatives stand
next to the thing taken in the graph's order, above it and below. The best ones that she did not take would be no fair
choice: most things that she took stand below them, and a model that sees the graph's embeddings learns to turn the
graph's order around (scripts/bench/NOTES.md).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.llm.past import Past, pasts_of

if TYPE_CHECKING:
    from gnnrec.run_folder import Run

NEWEST = 30  # things of a user's past, of which one is drawn as the one taken


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    user: int
    past: Past  # before the thing taken
    items: tuple[int, ...]  # the thing taken, and then the negatives


def training_windows(
    run: "Run", readable: Callable[[int], bool], size: int, negatives: int, seed: int
) -> Iterator[TrainingWindow]:
    """Without end; the same seed gives the same ones. `size`: of the neighbourhood that negatives are drawn from.

    `readable`: whether an item has a text. Raises UserError where no user had two such things.
    """
    import torch

    from gnnrec.models import model_scorer

    texts = np.array([readable(item) for item in range(len(run.item_ids))], dtype=np.bool_)  # [I]
    everybody = np.unique(run.train.user).tolist()
    pasts: dict[int, Past] = {}
    for user, past in zip(everybody, pasts_of(run.train, everybody)):
        first = {item: place for place, item in reversed(list(enumerate(past.items))) if texts[item]}
        if len(first) > 1:
            pasts[user] = past.at(sorted(first.values()))
    matrix, scorer = run.train.matrix(), model_scorer(run.model, run.graph)
    if not pasts or texts.sum() <= negatives:
        raise UserError(f"{run.folder}: no user had two things with a text, so there is nothing to tune on")
    users, random = list(pasts), np.random.default_rng(seed)
    while True:
        user = users[random.integers(len(users))]
        past = pasts[user]
        place = int(random.integers(max(1, len(past) - NEWEST), len(past)))
        with torch.no_grad():
            scores = scorer(torch.tensor([user]))[0].cpu().numpy()  # [I]
        others = texts.copy()
        others[matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]] = False
        near = nearest_in_order(scores, np.flatnonzero(others), past.items[place], size)
        drawn = random.permutation(near)[:negatives].tolist()
        if drawn:
            yield TrainingWindow(user, past.at(range(place)), (past.items[place], *drawn))


def nearest_in_order(
    scores: NDArray[np.float32], others: NDArray[np.int64], taken: int, size: int
) -> NDArray[np.int64]:
    """Of the items `others`, the `size` next to `taken` in the order of the scores [I]: as many above as below it,
    where there are as many."""
    order = others[np.argsort(-scores[others], kind="stable")]
    place = int(np.searchsorted(-scores[order], -scores[taken]))
    begin = max(0, min(place - size // 2, len(order) - size))
    return order[begin : begin + size]
