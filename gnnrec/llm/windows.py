"""Windows to train a reranker on: a thing that a user took, among the graph's best candidates that she did not take.

Only train rows are seen: as what was taken, as the past before it, and as what is no candidate. Random negatives would
be too easy: at the time of use every candidate is one that the graph holds for good.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gnnrec.errors import UserError
from gnnrec.llm.rerank import history_of
from gnnrec.ranking import top_k

if TYPE_CHECKING:
    from gnnrec.run_folder import Run

NEWEST = 30  # things of a user's past, of which one is drawn as the one taken


@dataclass(frozen=True, slots=True)
class TrainingWindow:
    user: int
    past: tuple[int, ...]  # before the thing taken, the newest last
    items: tuple[int, ...]  # the thing taken, and then the negatives


def training_windows(
    run: "Run", readable: Callable[[int], bool], size: int, negatives: int, seed: int
) -> Iterator[TrainingWindow]:
    """Without end; the same seed gives the same ones. `size`: of the graph's window that negatives are drawn from.

    `readable`: whether an item has a text. Raises UserError where no user had two such things.
    """
    import torch

    from gnnrec.models import model_scorer

    users = np.unique(run.train.user).astype(np.int64)
    ranking = top_k(model_scorer(run.model, run.graph), torch.from_numpy(users), size, run.train.matrix())
    hard = {
        user: [item for item in window if item >= 0 and readable(item)]
        for user, window in zip(users.tolist(), ranking.items.tolist())
    }
    pasts = {user: list(dict.fromkeys(filter(readable, history_of(run.train, user)))) for user in users.tolist()}
    able = [user for user in users.tolist() if len(pasts[user]) > 1 and hard[user]]
    if not able:
        raise UserError(f"{run.folder}: no user had two things with a text, so there is nothing to tune on")
    random = np.random.default_rng(seed)
    while True:
        user = able[random.integers(len(able))]
        past, others = pasts[user], hard[user]
        place = int(random.integers(max(1, len(past) - NEWEST), len(past)))
        drawn = random.permutation(len(others))[:negatives]
        yield TrainingWindow(user, tuple(past[:place]), (past[place], *(others[number] for number in drawn)))
