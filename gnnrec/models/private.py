"""What the models under differential privacy have in common: bounded users and what counts as public.

The unit is a whole user: (epsilon, delta) bounds what can be told from the released item side about whether one user,
with all that she had, was in the log or not. Public are the catalogue, its content and the number of users; nothing
else of a log may shape the item side but through noise. A user's own vector is made from the released item side and
her own history, for her alone; what everybody else sees of her stays within (epsilon, delta). This is joint
differential privacy by the billboard lemma (Kearns et al. 2014, "Mechanism design in large games"), and the setting
of McSherry & Mironov 2009, "Differentially private recommender systems".

Letters: U users, I items, w features of all modalities, m directions.
"""

from typing import Any

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.differential.accounting import check_users
from gnnrec.differential.noise import secret_generator
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, item_modalities, owners
from gnnrec.models.base import ClosedFormEmbeddingModel
from gnnrec.models.unit import unit_rows


class PrivateModel(ClosedFormEmbeddingModel):
    """A model whose state is released under differential privacy. Its settings have an epsilon and a delta."""

    config: Any

    def fit_closed_form(self, graph: HeteroData, noise: Generator | None = None) -> None:
        """noise: a generator that nobody else knows; for tests only. Raises UserError where delta is too large."""
        check_users(self.config.delta, graph["user"].num_nodes)
        self.learn(graph, centred(public_features(graph)), secret_generator() if noise is None else noise)

    def learn(self, graph: HeteroData, features: Tensor, noise: Generator) -> None:
        """Set the state. features: public and centred, [I, w]; all chance, that of the noise too, is from `noise`."""
        raise NotImplementedError

    def privacy(self) -> dict[str, Any]:
        """epsilon, delta, unit, mechanism, noise_multiplier and what bounds a user: for the record of a run."""
        raise NotImplementedError


def public_features(graph: HeteroData) -> Tensor:
    """Features of items side by side, each modality of length one: [I, w] float64, zeros for what is missing.

    Nodes that were filled in from co-consumed items are left out: their values are made of the log.
    """
    blocks = []
    for modality in item_modalities(graph):
        if modality == "profile":
            raise UserError("graph.profiles: found true, and profiles are written from the log; allowed here: false")
        nodes = graph[modality]
        known = ~nodes.imputed
        rows = unit_rows(nodes.x[known].double())
        block = rows.new_zeros(graph["item"].num_nodes, rows.shape[1])
        blocks.append(block.index_copy(0, owners(graph, modality)[known], rows))
    return torch.cat(blocks, dim=1) if blocks else torch.zeros(graph["item"].num_nodes, 0, dtype=torch.float64)


def centred(features: Tensor) -> Tensor:
    """Less the mean of the items that have any content; the others stay zero. [I, w]"""
    known = features.any(dim=1, keepdim=True)
    mean = features.sum(0) / known.sum().clamp(min=1)
    return torch.where(known, features - mean, 0.0)


def content_directions(features: Tensor, most: int) -> Tensor:
    """Principal directions of centred features as orthonormal columns over items: [I, at most `most`], float64."""
    values, vectors = torch.linalg.eigh(features.T @ features)  # [w], ascending
    order = values.flip(0)[:most]
    keep = order > 1e-9 * order[:1].clamp(min=1e-12).sum()
    top = vectors.flip(1)[:, :most][:, keep]
    directions: Tensor = torch.linalg.qr(features @ top)[0] if top.shape[1] else features[:, :0]
    return directions


def bounded_history(graph: HeteroData, most: int, generator: Generator) -> Tensor:
    """Pairs (user, item), each once, [2, E']; of a user with more than `most` items as many are drawn by lot."""
    num_items = graph["item"].num_nodes
    user, item = graph[INTERACTS].edge_index
    pairs = torch.unique(user * num_items + item)
    pairs = pairs[torch.randperm(len(pairs), generator=generator)]
    user = pairs // num_items
    order = torch.argsort(user, stable=True)
    pairs, user = pairs[order], user[order]
    count = torch.bincount(user, minlength=graph["user"].num_nodes)
    place = torch.arange(len(user)) - (count.cumsum(0) - count)[user]
    kept = pairs[place < most]
    return torch.stack([kept // num_items, kept % num_items])


def unit_histories(pairs: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sparse [U, I] float64 with 1 / sqrt(n) at the n items of a user: rows of length one, or empty."""
    count = torch.bincount(pairs[0], minlength=shape[0]).clamp(min=1)
    values = count[pairs[0]].double().rsqrt()
    return torch.sparse_coo_tensor(pairs, values, shape, check_invariants=True).coalesce()
