"""The same recipe trained again on another log: what membership and poisoning are measured by."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Interactions, Split
from gnnrec.encoders import Features, encode_dataset
from gnnrec.models import Model
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.recipe import Recipe
from gnnrec.run_folder import Run


@dataclass(frozen=True)
class Shadows:
    """Trains a run's recipe on logs over the run's items."""

    run: Run
    dataset: Dataset

    @cached_property
    def features(self) -> tuple[dict[str, Features], dict[str, Features]]:
        """Of items and users, out of the cache of `gnnrec encode` where they are there."""
        return encode_dataset(self.dataset, self.run.recipe.encoders_in(self.run.folder))

    def graph(self, log: Interactions, recipe: Recipe) -> HeteroData:
        """All that is made from a log is made anew from this one; its users beyond the run's have no content."""
        items, users = self.features
        more = log.num_users - len(self.run.user_ids)
        nobody = log.rows(np.zeros(0, dtype=np.int64))
        return training_graph(self.dataset, Split(log, nobody, nobody), items, {} if more else users, recipe)

    def fit(self, log: Interactions, recipe: Recipe | None = None) -> tuple[Model, HeteroData]:
        """A model of that log, without validation rows: all its epochs are gone through."""
        recipe = recipe or self.run.recipe
        graph = self.graph(log, recipe)
        model, _ = fit_model(graph, log.rows(np.zeros(0, dtype=np.int64)), recipe)
        model.eval()
        return model, graph


def halves(log: Interactions) -> tuple[Interactions, Interactions]:
    """Every other one of each user's rows: her history, and what it is to foretell."""
    order = np.argsort(log.user, kind="stable")
    user = log.user[order]
    place = np.arange(len(log)) - np.searchsorted(user, user)
    odd = np.zeros(len(log), dtype=bool)
    odd[order] = place % 2 == 1
    return log.rows(~odd), log.rows(odd)


def standing(scores: Tensor, wanted: Tensor) -> Tensor:
    """How far a user's wanted items stand above all, in standard deviations of her scores: [B, I] twice -> [B]."""
    spread = (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True).clamp(min=1e-12)
    return torch.where(wanted > 0, spread, 0.0).sum(1) / wanted.sum(1).clamp(min=1)
