"""On which rows and with which histories a report measures, and what the models do there.

Letters: n users, k length of the lists, I items.
"""

import copy
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec.comparison import mask_of
from gnnrec.datasets import Interactions
from gnnrec.evaluation import Evaluation, popularity_groups
from gnnrec.models import model_scorer
from gnnrec.pipeline import evaluate_model, fit_model
from gnnrec.progress import progress
from gnnrec.ranking import Scorer, top_k, unseen
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

CHEAP = {"popularity": 1_000_000, "item_knn": 200_000, "ease": 10_000}  # recipe -> items up to which it takes seconds
MOST_USERS = 2000  # whose held-out rows are ranked one by one
BATCH = 64  # users scored at a time


@dataclass(frozen=True, kw_only=True)
class Measured:
    run: Run
    split: str  # val | test
    relevant: Interactions  # the rows of that split

    @property
    def _whole_log(self) -> bool:
        return mask_of(self.run, self.split, None) == "train+val"

    @property
    def known(self) -> Interactions:
        """What users have, so that it is not recommended."""
        return self.run.known if self._whole_log else self.run.train

    @property
    def graph(self) -> HeteroData:
        return self.run.known_graph if self._whole_log else self.run.graph

    @cached_property
    def scorer(self) -> Scorer:
        return model_scorer(self.run.model, self.graph)

    def lists(self, users: NDArray[np.int64], length: int) -> NDArray[np.int64]:
        """The lists that the evaluation measured, [n, k]; -1 where nothing is left to recommend."""
        found: NDArray[np.int64] = top_k(self.scorer, users, length, self.known.matrix()).items.numpy()
        return found

    def baselines(self, there: Collection[str]) -> dict[str, Evaluation]:
        """The models that are computed in seconds, by name, without those that are `there` already."""
        names = [name for name, most in CHEAP.items() if name not in there and self.relevant.num_items <= most]
        found = {}
        for name in progress(names, text="computing baselines", unit="model"):
            model, _ = fit_model(copy.copy(self.run.graph), self.run.val, load_recipe(name))
            model.eval()
            found[name] = evaluate_model(model, self.graph, self.relevant, self.run.train, self.known)
        return found

    def ranks(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Users, held-out popular items and their ranks in the whole catalogue, 1 the best. [m] each

        Popular: among those that share the first third of the interactions. Of more than MOST_USERS users some drawn at
        random. An item's rank is 1 + the number of items that the user does not have and that score higher.
        """
        known = self.known.matrix()
        wanted = unseen(self.relevant.matrix(), known).tocoo()
        popular = popularity_groups(self.run.train.matrix())["head"][wanted.col]
        users, items = wanted.row[popular].astype(np.int64), wanted.col[popular].astype(np.int64)
        asked = np.unique(users)
        if len(asked) > MOST_USERS:
            asked = np.sort(np.random.default_rng(0).choice(asked, MOST_USERS, replace=False))
            users, items = (column[np.isin(users, asked)] for column in (users, items))
        ranks = np.empty(len(users), dtype=np.int64)
        for start in range(0, len(asked), BATCH):
            batch = asked[start : start + BATCH]
            scores = self.scorer(torch.from_numpy(batch)).numpy().copy()
            had = known[batch].tocoo()
            scores[had.row, had.col] = -np.inf
            for row in np.flatnonzero(np.isin(users, batch)):
                mine = scores[np.searchsorted(batch, users[row])]  # [I]
                ranks[row] = 1 + (mine > mine[items[row]]).sum()
        return users, items, ranks
