"""Losses over scores: pure functions (positive [B], negative [B, K]) -> scalar. A negative of -inf counts as absent."""

from collections.abc import Callable, Sequence
from itertools import combinations
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


def info_nce(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """InfoNCE of two views of the same N things, [N, d] each: -log softmax of a row's cosine with its own other view
    among those with all other views (van den Oord et al. 2018, eq. 4), mean over rows."""
    scores = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T / temperature  # [N, N]
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def align_views(views: Sequence[tuple[Tensor, Tensor]], temperature: float) -> Tensor:
    """`info_nce` both ways between every two of several views of N things, mean over the pairs.

    A view is its rows [N, d] and which of them are there [N]; a pair counts the rows that both have. The symmetric
    loss of CLIP (Radford et al. 2021, fig. 3) with a fixed temperature. Zero where no pair has two rows to tell apart.
    """
    losses = []
    for (first, has_first), (second, has_second) in combinations(views, 2):
        both = has_first & has_second
        if both.sum() > 1:
            a, b = first[both], second[both]
            losses.append((info_nce(a, b, temperature) + info_nce(b, a, temperature)) / 2)
    return torch.stack(losses).mean() if losses else views[0][0].new_zeros(())


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
    matrix products and their exponentials round to bfloat16 (a cosine over a temperature of 0.2 moves by less than
    0.03, a sum of two by twice that).
    """
    loss: Tensor = _Softmax.apply(query, F.embedding(target, items), items, None, 1.0, low_precision)
    return loss


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
    same = _places(target, drawn)
    loss: Tensor = _Softmax.apply(query, positive, negatives, same, stands_for, low_precision)
    return loss


def _places(target: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Where a row's own item was drawn: rows in ascending order, and places in `drawn`. [n] each"""
    ordered, order = drawn.sort(stable=True)
    first = torch.searchsorted(ordered, target)
    times = torch.searchsorted(ordered, target, right=True) - first
    rows = torch.repeat_interleave(torch.arange(len(target), device=target.device), times)
    nth = torch.arange(len(rows), device=target.device) - (times.cumsum(0) - times)[rows]
    return rows, order[first[rows] + nth]


BLOCK_SCORES = 2**22  # scores held at a time: 8 MB in bfloat16
SAFE = 60.0  # exponentials of scores up to this, summed over any catalogue, are within float32 and bfloat16


class _Softmax(torch.autograd.Function):
    """Loss and gradients in one pass over blocks of scores. The weights exp(score) are not divided by their sum: the
    narrow side of each product is, so that a block is touched twice only, by the exponential and by the sum."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,  # [B, d]
        positive: Tensor,  # [B, d]
        items: Tensor,  # [C, d]
        same: tuple[Tensor, Tensor] | None,  # None: every row's own item is among the items, once
        stands_for: float,
        low_precision: bool,
    ) -> Tensor:
        kind = torch.bfloat16 if low_precision else query.dtype
        q, i = query.to(kind), items.to(kind)
        score = (query * positive).sum(1)  # [B]
        # Cauchy-Schwarz. Cosines over a temperature stay within it; for others each row's largest score is taken off.
        within = query.norm(dim=1).amax() * items.norm(dim=1).amax() <= SAFE and score.amax() <= SAFE
        shift, mass = torch.zeros_like(score), torch.empty_like(score)
        query_gradient, item_gradient = torch.empty_like(query), torch.zeros_like(items)
        step = min(max(BLOCK_SCORES // len(items), 64), len(query))
        scores = query.new_empty((step, len(items)), dtype=kind)  # the same memory for every block
        for start in range(0, len(query), step):
            rows = slice(start, min(start + step, len(query)))
            weights = torch.mm(q[rows], i.T, out=scores[: rows.stop - start])
            if not within:
                shift[rows] = weights.amax(1)
                if same is not None:
                    shift[rows] = torch.maximum(shift[rows], score[rows])
                weights.sub_(shift[rows, None])
            weights.exp_()
            if same is not None:
                first, end = torch.searchsorted(same[0], same[0].new_tensor([rows.start, rows.stop])).tolist()
                weights[same[0][first:end] - start, same[1][first:end]] = 0.0
            mass[rows] = stands_for * weights.sum(1, dtype=mass.dtype)
            if same is not None:
                mass[rows] += (score[rows] - shift[rows]).exp()
            share = stands_for / mass[rows, None]
            query_gradient[rows] = torch.mm(weights, i).to(query.dtype) * share
            item_gradient += torch.mm(weights.T, (query[rows] * share).to(kind))
        # The softmax at the positive less one: for items that hold it, its softmax is in the products already.
        error = -torch.ones_like(mass) if same is None else (score - shift).exp() / mass - 1
        query_gradient += error[:, None] * positive
        ctx.save_for_backward(query_gradient, error[:, None] * query, item_gradient)
        return (mass.log() + shift - score).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query_gradient, positive_gradient, item_gradient = ctx.saved_tensors
        scale = gradients[0] / len(query_gradient)
        return query_gradient * scale, positive_gradient * scale, item_gradient * scale, None, None, None
