"""Losses over scores: pure functions (positive [B], negative [B, K]) -> scalar. A negative of -inf counts as absent."""

from collections.abc import Callable
from typing import Any

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
    # The positive stands among the scores, so that a row without any present negative has a gradient too.
    scores = torch.cat([positive[:, None], negative], dim=1)  # [B, 1 + K]
    return (scores.logsumexp(dim=1) - positive).mean()


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


def catalogue_softmax(query: Tensor, items: Tensor, target: Tensor, low_precision: bool = False) -> Tensor:
    """Softmax cross-entropy over a whole catalogue: query [B, d], items [C, d], target [B] in 0..C -> mean loss.

    Equal to `sampled_softmax` with every other item as a negative, but the [B, C] scores exist only block by block
    and their gradient is made on the way, so that memory stays small and near the core. With `low_precision` the
    matrix products round to bfloat16 (a cosine over a temperature of 0.2 moves by less than 0.03, a sum of two by twice
    that).
    """
    loss: Tensor = _CatalogueSoftmax.apply(query, items, target, low_precision)
    return loss


BLOCK_SCORES = 2**20  # scores held at a time: 4 MB


class _CatalogueSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, items: Tensor, target: Tensor, low_precision: bool) -> Tensor:
        kind = torch.bfloat16 if low_precision else query.dtype
        q, i = query.to(kind), items.to(kind)
        query_gradient = torch.empty_like(query)
        item_gradient = torch.zeros_like(items)
        total = query.new_zeros(())
        blocks = torch.arange(len(query), device=query.device).split(max(BLOCK_SCORES // len(items), 64))
        # The same memory for every block: fresh pages would cost as much as a pass.
        shape = (len(blocks[0]), len(items))
        products, wide = query.new_empty(shape, dtype=kind), query.new_empty(shape)
        softmax = torch.empty_like(wide)
        for rows in blocks:
            scores, share = wide[: len(rows)], softmax[: len(rows)]
            rounded = torch.mm(q[rows], i.T, out=products[: len(rows)])  # [block, C]
            scores.copy_(rounded)
            torch.softmax(scores, 1, out=share)
            here = torch.arange(len(rows), device=query.device)
            # The largest share is that of the largest score, and no less than 1 / C: its logarithm loses nothing.
            log_mass = scores.amax(1) - share.amax(1).log()
            total += (log_mass - scores[here, target[rows]]).sum()
            share[here, target[rows]] -= 1.0
            error = rounded.copy_(share)
            query_gradient[rows] = (error @ i).to(query.dtype)
            item_gradient += (error.T @ q[rows]).to(query.dtype)
        ctx.save_for_backward(query_gradient, item_gradient)
        return total / len(query)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        query_gradient, item_gradient = ctx.saved_tensors
        scale = gradients[0] / len(query_gradient)
        return query_gradient * scale, item_gradient * scale, None, None


def shared_softmax(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor,
    target: Tensor,
    drawn: Tensor,
    stands_for: float,
    low_precision: bool = False,
) -> Tensor:
    """`catalogue_softmax` estimated from K items drawn uniformly, the same for all rows: mean loss.

    query [B, d], positive [B, d] (the item of each row), negatives [K, d]; `target` [B] and `drawn` [K] are their item
    indexes: a row's own item is none of its negatives. Each negative stands for `stands_for` items of the catalogue:
    the logQ correction (Bengio & Senecal 2008; Yi et al. 2019) for a uniform proposal, so that the mean of the
    estimated mass is the mass.
    """
    loss: Tensor = _SharedSoftmax.apply(query, positive, negatives, target, drawn, stands_for, low_precision)
    return loss


class _SharedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor,
        target: Tensor,
        drawn: Tensor,
        stands_for: float,
        low_precision: bool,
    ) -> Tensor:
        kind = torch.bfloat16 if low_precision else query.dtype
        n = negatives.to(kind)
        query_gradient, positive_gradient = torch.empty_like(query), torch.empty_like(positive)
        negative_gradient = torch.zeros_like(negatives)
        total = query.new_zeros(())
        for rows in torch.arange(len(query), device=query.device).split(max(BLOCK_SCORES // len(negatives), 64)):
            exact, own = query[rows], positive[rows]
            q = exact.to(kind)
            score = (exact * own).sum(1, keepdim=True)
            scores = (q @ n.T).to(query.dtype)  # [block, K]
            highest = torch.maximum(scores.amax(1, keepdim=True), score)
            scores.sub_(highest).exp_().mul_(stands_for)
            scores.masked_fill_(target[rows, None] == drawn, 0.0)
            mass = scores.sum(1, keepdim=True) + (score - highest).exp()
            total += (mass.log() + highest - score).sum()
            error = scores.div_(mass)
            share = error.sum(1, keepdim=True)  # the softmax is 1 - share at the positive
            error = error.to(kind)
            query_gradient[rows] = (error @ n).to(query.dtype) - share * own
            positive_gradient[rows] = -share * exact
            negative_gradient += (error.T @ q).to(query.dtype)
        ctx.save_for_backward(query_gradient, positive_gradient, negative_gradient)
        return total / len(query)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_gradient, positive_gradient, negative_gradient = ctx.saved_tensors
        scale = gradients[0] / len(query_gradient)
        return query_gradient * scale, positive_gradient * scale, negative_gradient * scale, None, None, None, None
