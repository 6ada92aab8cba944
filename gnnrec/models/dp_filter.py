"""dp_filter: a graph filter on an item-item graph that is private at the level of users.

One message-passing hop from items to users and back, item <- user <- item, is the sum over users of the outer product
of their rows. As in GAP (Sajadmanesh et al. 2023, "GAP: differentially private graph neural networks with aggregation
perturbation"; DIPSGNN, Hu & Fang 2023, for recommenders) a user's degree is bounded, her row has length one, and the
aggregate is released with Gaussian noise. Deviations: what is aggregated are not feature rows of single items but the
items' directions of content, which are public, so that there are m * m noisy numbers in the place of I * m; and there
is one release for all hops, since further ones on a released operator cost nothing. The noise of a symmetric matrix is
that of Dwork et al. 2014, "Analyze Gauss".

Released once, by one Gaussian mechanism, for a user's row b (length one over at most `degree` items) and c = P' b:

    C = sum of c c' (m x m), with share 1 - popularity_share of the squared sensitivity;  |c c'| <= 1
    p = sum of b (I), with the share popularity_share;                                   |b| <= 1

Adding or removing a user moves the two, so weighted, by 1 at most. What follows is post-processing: an item's row is
its place in C's eigenvectors above the noise, each weighed w / (w + l2), beside its content, beside p smoothed over
content by Gaussian-process regression with the known noise. A user is the sum of her items in each part.

Letters: U users, I items, m directions of content with a constant one, w features.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.differential.accounting import check_budget, gaussian_epsilon, gaussian_multiplier
from gnnrec.differential.noise import gaussian, symmetric_gaussian
from gnnrec.errors import UserError
from gnnrec.graph import REV_INTERACTS, operator
from gnnrec.models.base import Embeddings, check_least
from gnnrec.models.private import (
    PrivateModel,
    bounded_history,
    content_directions,
    unit_histories,
)
from gnnrec.models.unit import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DPFilterConfig:
    epsilon: float = 4.0  # of the item side, for a whole user; inf: no noise
    delta: float = 1e-5  # has to be below one in all users
    degree: int = 1000  # at most so many items of a user count
    directions: int = 127  # of content, on which items are told apart; a constant one is added
    l2: float = 3.0  # shrinks eigenvalues
    above: float = 0.25  # of the largest eigenvalue of noise alone: what has to be exceeded to be kept
    content: float = 0.7  # weight of content as it is
    popularity: float = 0.06  # weight of popularity, standardized
    popularity_share: float = 0.3  # of the squared sensitivity

    def __post_init__(self) -> None:
        check_budget(self.epsilon, self.delta)
        check_least(self, degree=1, directions=0, l2=0.0, above=0.0, content=0.0, popularity=0.0)
        if not 0 < self.popularity_share < 1:
            raise UserError(f"model.popularity_share: found {self.popularity_share}; allowed: above 0, below 1")


class DPFilter(PrivateModel):
    def __init__(self, config: DPFilterConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("learnt", torch.empty(0))  # [I, r] by the released eigenvectors
        self.register_buffer("content", torch.empty(0))  # [I, w] centred, of length one
        self.register_buffer("popularity", torch.empty(0))  # [I]
        self.register_buffer("multiplier", torch.empty(0))  # standard deviation over sensitivity

    def learn(self, graph: HeteroData, features: Tensor, noise: Generator) -> None:
        directions = with_constant(content_directions(features, self.config.directions))
        multiplier = gaussian_multiplier(self.config.epsilon, self.config.delta)
        gram, counts = self.release(graph, directions, multiplier, noise)
        # From here on the log is not looked at any more.
        gram_std, count_std = self._deviations(multiplier)
        self.learnt = self._spectral_rows(gram, directions, gram_std).float()
        self.content = unit_rows(features).float()
        self.popularity = standardized(smoothed(counts, unit_rows(features), count_std)).float()
        self.multiplier = torch.tensor([multiplier])

    def release(
        self, graph: HeteroData, directions: Tensor, multiplier: float, noise: Generator
    ) -> tuple[Tensor, Tensor]:
        """The one look at the log: C [m, m] and p [I] with noise, by orthonormal directions [I, m]."""
        shape = (graph["user"].num_nodes, graph["item"].num_nodes)
        rows = unit_histories(bounded_history(graph, self.config.degree, noise), shape)
        gram, counts = aggregates(rows, directions)
        gram_std, count_std = self._deviations(multiplier)
        return (
            gram + symmetric_gaussian(len(gram), gram_std, noise),
            counts + gaussian(tuple(counts.shape), count_std, noise),
        )

    def _deviations(self, multiplier: float) -> tuple[float, float]:
        """Of the noise of C and of p."""
        share = self.config.popularity_share
        return multiplier / (1 - share) ** 0.5, multiplier / share**0.5

    def forward(self, graph: HeteroData) -> Embeddings:
        history = operator(graph, REV_INTERACTS, "none")  # [U, I]
        known = (history.offsets.diff() > 0).float()[:, None]
        one = torch.ones(len(known), 1)
        user = torch.cat([unit_rows(history @ self.learnt), unit_rows(history @ self.content), one], dim=1)
        weights = self.config.content, self.config.popularity
        return Embeddings(
            user, torch.cat([self.learnt, weights[0] * self.content, weights[1] * self.popularity[:, None]], dim=1)
        )

    def privacy(self) -> dict[str, Any]:
        multiplier = self.multiplier.item()
        return {
            "epsilon": gaussian_epsilon(multiplier, self.config.delta),
            "delta": self.config.delta,
            "unit": "user",
            "mechanism": "gaussian, one release",
            "noise_multiplier": multiplier,
            "most_items_of_a_user": self.config.degree,
        }

    def _spectral_rows(self, gram: Tensor, directions: Tensor, std: float) -> Tensor:
        """Items by the eigenvectors above the noise, of mean squared length one. [I, r]"""
        values, vectors = torch.linalg.eigh(gram)
        floor = self.config.above * std * (2 * len(gram)) ** 0.5  # of a symmetric matrix of noise: about std sqrt(2 m)
        keep = values > max(floor, 1e-9)
        values, vectors = values[keep], vectors[:, keep]
        rows = directions @ (vectors * (values / (values + self.config.l2)).sqrt())
        return rows / rows.square().sum(1).mean().clamp(min=1e-12).sqrt()


def with_constant(directions: Tensor) -> Tensor:
    """The constant direction and the parts of the others that are orthogonal to it. [I, m]"""
    constant = torch.full((len(directions), 1), len(directions) ** -0.5, dtype=directions.dtype)
    basis: Tensor = torch.linalg.qr(torch.cat([constant, directions], dim=1))[0]
    return basis


def aggregates(rows: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """C [m, m] and p [I] of the users' rows, sparse [U, I] of length one at most, and orthonormal directions [I, m]."""
    users = rows @ directions  # [U, m]
    users = users / users.norm(dim=1, keepdim=True).clamp(min=1)  # by rounding a row may exceed one
    return users.T @ users, torch.sparse.sum(rows, 0).to_dense()


def smoothed(counts: Tensor, content: Tensor, std: float) -> Tensor:
    """Counts with noise [I] as they most likely were, by what items of like content [I, w] have.

    The posterior mean of a Gaussian process whose variance is three quarters content and one quarter the item's own;
    the variance is what the counts have beyond the noise's.
    """
    if std == 0:
        return counts
    mean = counts.mean()
    signal = (counts.var() - std**2).clamp(min=0.01 * std**2)
    own = signal / 4 + std**2
    scale = (0.75 * signal / content.square().sum(1).mean().clamp(min=1e-12)).sqrt()
    root = scale * content  # [I, w], K = root root' + own
    rest = counts - mean
    inner = torch.eye(content.shape[1], dtype=content.dtype) * own + root.T @ root
    solved = (rest - root @ torch.linalg.solve(inner, root.T @ rest)) / own  # K^-1 rest, by Woodbury
    return counts - std**2 * solved


def standardized(values: Tensor) -> Tensor:
    return (values - values.mean()) / values.std().clamp(min=1e-12)
