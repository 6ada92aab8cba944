"""The moving average of weights, of all at each step or of each row when it moves: the same numbers.

A row that stands still at w pulls its average a towards itself by a <- w + k (a - w) at each step, k the decay. After
m steps the distance a - w is what it was times the product of the m decays, so that a row's average need not be touched
before the row moves or the average is asked for.

Letters: n rows, d dimensions.
"""

import math

import torch
from torch import Tensor

SLOW = 10  # how many updates the average is behind at the very beginning, where it is over fewer steps


class Decay:
    """Of an exponential moving average (Polyak averaging) with a decay per update of `limit`, less at the beginning."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._settled = int(SLOW * limit / (1 - limit))  # updates after which every decay is the limit

    def __bool__(self) -> bool:
        return self.limit > 0

    def share(self, updates: int) -> float:
        """What the weights after that many updates add to the average."""
        return 1 - min(self.limit, updates / (SLOW + updates))

    def left(self, since: Tensor, until: int) -> Tensor:
        """What is left after `until` updates of a distance that was there after `since` [n]. float32 [n]"""
        return (self._product(torch.tensor(until)) - self._product(since)).exp().float()

    def _product(self, updates: Tensor) -> Tensor:
        """The logarithm of the decays' product, but for a constant: of u / (SLOW + u), then of the limit."""
        first = updates.clamp(max=self._settled).double()
        begun = torch.lgamma(first + 1) - torch.lgamma(first + 1 + SLOW)
        return begun + (updates - first) * math.log(self.limit)


def caught_up(weight: Tensor, average: Tensor, averaged_at: Tensor, updates: int, decay: Decay) -> Tensor:
    """The averages [n, d] after that many updates of rows whose `average` is that of `averaged_at` [n] and that have
    been where they are, `weight`, since then. 0 there: a row that never moved, whose average is itself."""
    left = decay.left(averaged_at, updates).to(weight.device) * (averaged_at > 0)
    return weight + left[:, None] * (average - weight)
