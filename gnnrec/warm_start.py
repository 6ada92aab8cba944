"""A model that starts from the weights of a run whose users and items are among its own.

Rows of free embeddings go over by id. A new row starts where its neighbours stand: a new item as the mean over its
users of the mean of what each of them had, in the same table, and a new user likewise over the users of her items; as
long as rows are there on average. Who has no known neighbour starts as in any training. Weights that belong to nobody
(maps of features, fusion, attention) go over as they are; what is fitted after the gradients is fitted anew.

Letters: U users, I items, n rows of a table, d dimensions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, REV_INTERACTS, operator
from gnnrec.models import EmbeddingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Where a training starts: rows of the tables by their place there, -1 for who is new."""

    origin: str  # names the run, so that a checkpoint is not taken for that of another one
    weights: Mapping[str, Tensor]  # the parameters of the run's model; none for one in closed form
    users: NDArray[np.int64]  # [U]
    items: NDArray[np.int64]  # [I]
    train: Interactions  # what that run trained on and selected by, in the indexes of the new data
    val: Interactions

    @torch.no_grad()
    def apply(self, model: EmbeddingModel, graph: HeteroData) -> None:
        """Set the parameters. Raises UserError where the model is of another shape."""
        for name, parameter in model.named_parameters():
            old = self.weights.get(name)
            if old is None:  # of a modality that came later
                continue
            owner = model.rows_of.get(name)
            if owner is None:
                if old.shape != parameter.shape:
                    raise _misfit(name, old, parameter)
                parameter.copy_(old)
                continue
            if old.shape[1:] != parameter.shape[1:]:
                raise _misfit(name, old, parameter)
            place = torch.from_numpy(self.users if owner == "user" else self.items)
            _fill(parameter, old, place, graph, owner)


def _fill(table: Tensor, old: Tensor, place: Tensor, graph: HeteroData, owner: str) -> None:
    """table [n, d] from old [m, d] by `place` [n], new rows from their neighbours."""
    known = place >= 0
    table[known] = old[place[known]]
    if known.all():
        return
    there = known.float()[:, None]
    first, second = (INTERACTS, REV_INTERACTS) if owner == "user" else (REV_INTERACTS, INTERACTS)
    to_other, back = operator(graph, first, "mean"), operator(graph, second, "mean")
    reached = to_other @ there
    means = (to_other @ (table * there)) / reached.clamp(min=1e-12)
    found = (reached > 0).float()
    weight = back @ found
    rows = (back @ (means * found)) / weight.clamp(min=1e-12)
    new = ~known & (weight.squeeze(1) > 0)
    length = rows[new].norm(dim=1, keepdim=True).clamp(min=1e-12)
    table[new] = rows[new] / length * old.norm(dim=1).mean()


def _misfit(name: str, old: Tensor, new: Tensor) -> UserError:
    return UserError(f"{name}: found {list(new.shape)}, the run that it starts from has {list(old.shape)}")


def places(ids: Sequence[str], old: Sequence[str]) -> NDArray[np.int64]:
    """Where each id stands among the old ones, -1 for who is not. [n]"""
    index = {name: place for place, name in enumerate(old)}
    return np.array([index.get(name, -1) for name in ids], dtype=np.int64)


def moved(log: Interactions, users: NDArray[np.int64], items: NDArray[np.int64]) -> Interactions:
    """A log of the run in the indexes of the new data, without rows of users and items that are no longer there.

    users [U], items [I]: `places` of the new ids in the run.
    """
    user, item = _inverse(users, log.num_users)[log.user], _inverse(items, log.num_items)[log.item]
    there = (user >= 0) & (item >= 0)  # rows may be too old by now, see retention_days
    return Interactions(
        user=user[there],
        item=item[there],
        num_users=len(users),
        num_items=len(items),
        timestamp=None if log.timestamp is None else log.timestamp[there],
        rating=None if log.rating is None else log.rating[there],
    )


def _inverse(place: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Of each of `size` old rows its new place, -1 where there is none."""
    inverse = np.full(size, -1, dtype=np.int32)
    new = np.flatnonzero(place >= 0)
    inverse[place[new]] = new
    return inverse
