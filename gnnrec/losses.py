"""Losses over scores: pure functions (positive [B], negative [B, K]) -> scalar. A negative of -inf counts as absent."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalized ranking, -log sigmoid(positive - negative), mean over pairs (Rendle et al. 2009, eq. 4).

    Deviation: the L2 term of the paper is the optimizer's weight decay here.
    """
    present = torch.isfinite(negative)
    return -(F.logsigmoid(positive[:, None] - negative)[present]).mean()


def sampled_softmax(positive: Tensor, negative: Tensor) -> Tensor:
    """-log softmax of the positive among itself and its negatives; over the whole catalogue it is the full softmax.

    Scores come in divided by the temperature (Wu et al. 2022, "On the effectiveness of sampled softmax loss").
    """
    return (torch.logaddexp(positive, negative.logsumexp(dim=1)) - positive).mean()


def binary_cross_entropy(positive: Tensor, negative: Tensor) -> Tensor:
    """Log loss of every positive against 1 and of every negative against 0, the two sides weighing the same."""
    present = torch.isfinite(negative)
    return -F.logsigmoid(positive).mean() - F.logsigmoid(-negative[present]).mean()


def hinge(positive: Tensor, negative: Tensor) -> Tensor:
    """Hardest-negative margin of 1 (collaborative metric learning's ranking term, Hsieh et al. 2017, without WARP)."""
    return F.relu(1.0 - positive + negative.max(dim=1).values).mean()


LOSSES: dict[str, Loss] = {
    "softmax": sampled_softmax,
    "bpr": bpr,
    "bce": binary_cross_entropy,
    "hinge": hinge,
}
