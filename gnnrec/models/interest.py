"""Short-term interest: what a user's last items say of the next one, weighed by attention.

The mean of the last items' vectors, halving with every few steps back, plus what an attention hears that the very last
item asks: one layer of SASRec (Kang & McAuley 2018, section III), for its last place only. Deviations: places are known
by a learned bias per head and number of steps back (T5, Raffel et al. 2020), which starts as the halving of the mean;
no feed-forward layer, no dropout. Keys and values are linear in the items' vectors, so the query goes back through the
keys' weights and the mixed vectors on through the values': the last items are gathered once, as they are.

Letters: I items, B users at some time, L how many last items, H heads, d dimensions, e = d / H.
"""

import math

import torch
from torch import Generator, Tensor, nn

from gnnrec.models.unit import unit_rows
from gnnrec.propagate import SparseOperator

QUIET = 0.1  # how loud the attention is at the start, beside the mean


class ShortTermInterest(nn.Module):
    halving: Tensor  # [L] weights of the mean, before they are made to sum to 1

    def __init__(self, dim: int, length: int, heads: int, half_life: float, generator: Generator) -> None:
        """Without heads it is the mean, and has no parameters."""
        super().__init__()
        self.heads = heads
        steps = torch.arange(length, dtype=torch.float32)
        self.register_buffer("halving", 0.5 ** (steps / half_life), persistent=False)
        if heads:
            self.query, self.key, self.value = (_normal(dim, 1.0, generator) for _ in range(3))
            self.heard = _normal(dim, QUIET, generator)
            self.bias = nn.Parameter((-math.log(2) / half_life * steps).repeat(heads, 1))  # [H, L]

    def forward(self, context: Tensor, items: Tensor, there: Tensor) -> Tensor:
        """Items' vectors [I, d]; users' last items, the very last first, and which there are [B, L] -> [B, d].

        Rows have length one, or zero for users without any item.
        """
        (batch, length), dim = items.shape, context.shape[1]
        every = torch.arange(batch * length + 1, device=items.device)
        gather = SparseOperator(every, items.flatten(), there.flatten().float(), (batch * length, len(context)))
        last = (gather @ context).view(batch, length, dim)  # zeros where there is none
        recency = self.halving * there
        recency = recency / recency.sum(1, keepdim=True).clamp(min=1e-12)
        if not self.heads:
            return unit_rows((recency[:, None] @ last).squeeze(1))
        parts = (self.heads, dim // self.heads, dim)  # of a weight: [H, e, d]
        query = (last[:, 0] @ self.query.T).view(batch, *parts[:2]).transpose(0, 1)  # [H, B, e]
        query = (query @ self.key.view(parts)).transpose(0, 1)  # [B, H, d]
        scores = query @ last.transpose(1, 2) / parts[1] ** 0.5 + self.bias  # [B, H, L]
        # A finite floor: users without items have a row of numbers, and their vectors are zero.
        weights = scores.masked_fill(~there[:, None], -1e9).softmax(2)
        mixed = torch.cat([weights, recency[:, None]], dim=1) @ last  # [B, H + 1, d]
        heard = mixed[:, :-1].transpose(0, 1) @ self.value.view(parts).transpose(1, 2)  # [H, B, e]
        return unit_rows(mixed[:, -1] + heard.transpose(0, 1).flatten(1) @ self.heard.T)


def _normal(dim: int, scale: float, generator: Generator) -> nn.Parameter:
    return nn.Parameter(torch.randn(dim, dim, generator=generator) * (scale / dim**0.5))
