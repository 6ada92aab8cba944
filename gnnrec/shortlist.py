"""Exact best-k lists of inner products at the price of bfloat16: rounded scores sieve the items, float32 ranks them.

A rounded score is off by no more than a bound that is known per user, so every item of the true list has a rounded
score above a threshold; the few that have are scored again from the unrounded embeddings. The matrix product is torch's
and the scan over its scores is compiled by numba (once per machine, two seconds; the machine code is kept on disk).

Letters: B users of a batch, I items, d dimensions, k length of a list.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec.progress import progress
from gnnrec.threads import side_by_side

BLOCK_ROWS = 65_536  # of users or items that are looked at together while the bounds are made
LONGEST = 128  # k up to which sorting by insertion is right
CHUNK = 64  # scores that are compared at once
# bfloat16 as an int16 whose order is that of the numbers: the bits, and those below the sign turned where it is set.
MINUS_INFINITY = np.int16(0xFF80 - 2**16)
LOWEST = np.int16(MINUS_INFINITY ^ np.int16(0x7FFF))


Hidden = tuple[NDArray[np.int64], NDArray[Any]]
"""CSR offsets [B + 1] and the items that each user is not shown."""


class Shortlist:
    """Users [U, d] and items [I, d], float32 on the CPU, ready to be ranked. Where `bound` is not finite, do not."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self.users, self.items = users, items.contiguous()
        self.rounded = self.items.bfloat16()
        # How far a rounded score of each user may be off, but for its own rounding, which is in proportion: by Cauchy
        # and Schwarz from the errors of both sides, and d 2^-23 at most of what is summed for the sum of d products.
        parts = self.items.split(BLOCK_ROWS)
        longest = torch.stack([rows.norm(dim=1).amax() for rows in parts]).amax()
        off = torch.stack([(rows - rows.bfloat16().float()).norm(dim=1).amax() for rows in parts]).amax()
        error = off + items.shape[1] * 2.0**-23 * longest * 1.01
        self.bound = torch.cat([_bound(rows, longest, error) for rows in users.split(BLOCK_ROWS)])  # [U]

    def rank(
        self, batches: Sequence[Tensor], hidden: Callable[[Tensor], Hidden], excluded: Tensor | None, k: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Values and items [B, k] of each batch of users [B] by descending score, then ascending item.

        Where there are no more, item -1 and -inf. `hidden` tells what the users of a batch are not shown, `excluded`
        [I] what nobody is.
        """

        def best(users: Tensor) -> tuple[Tensor, Tensor]:
            query = self.users[users]
            scores = query.bfloat16() @ self.rounded.T  # [B, I]
            if excluded is not None:
                scores.masked_fill_(excluded, -torch.inf)
            values, items = torch.empty(len(users), k), torch.empty(len(users), k, dtype=torch.int64)
            tables = (scores.view(torch.int16), query, self.items, self.bound[users], values, items)
            _rank(*(table.numpy() for table in tables), *hidden(users))
            return values, items

        return list(progress(side_by_side(best, batches), total=len(batches), text="ranking", unit="batch"))


def _bound(users: Tensor, longest: Tensor, error: Tensor) -> Tensor:
    near = users.bfloat16().float()
    return ((users - near).norm(dim=1) * longest + near.norm(dim=1) * error) * 1.001


def _compiled(**options: Any) -> Callable[[Any], Any]:
    def compile_it(function: Any) -> Any:
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # no folder that could keep the machine code
            return numba.njit(nogil=True, **options)(function)

    return compile_it


@_compiled()
def _in_order(bits):  # type: ignore[no-untyped-def]
    return np.int16(bits ^ ((bits >> np.int16(15)) & np.int16(0x7FFF)))


@_compiled()
def _any_above(chunk, cut):  # type: ignore[no-untyped-def]
    hit = np.uint8(0)
    for place in range(CHUNK):
        hit |= np.uint8(chunk[place] > cut)
    return hit != 0


@_compiled(fastmath={"reassoc", "contract"})
def _inner_product(left, right):  # type: ignore[no-untyped-def]
    """In double precision, so that the float32 does not depend on the order of the sum."""
    total = 0.0
    for place in range(len(left)):
        total += np.float64(left[place]) * np.float64(right[place])
    return np.float32(total)


@_compiled()
def _put(values, items, value, item):  # type: ignore[no-untyped-def]
    """Into the list, if it is above the last one: items come in ascending order, so an equal one stays behind."""
    place = len(values) - 1
    if value > values[place]:
        while place > 0 and values[place - 1] < value:
            values[place], items[place] = values[place - 1], items[place - 1]
            place -= 1
        values[place], items[place] = value, item


@_compiled()
def _lower_bound(row, groups, top, unused):  # type: ignore[no-untyped-def]
    """What k rounded scores reach for sure: the k-th largest of the maxima of groups of items."""
    groups[:] = LOWEST
    width = len(groups)
    for first in range(0, len(row) - width + 1, width):
        part = row[first : first + width]
        for place in range(width):
            groups[place] = part[place] if part[place] > groups[place] else groups[place]
    for place in range(len(row) // width * width, len(row)):
        groups[place % width] = max(groups[place % width], row[place])
    top[:] = LOWEST
    for place in range(width):
        _put(top, unused, groups[place], 0)
    return top[-1]


@_compiled()
def _threshold(lower, bound):  # type: ignore[no-untyped-def]
    """The rounded score, in order, that every item of the list is above, where k rounded scores are `lower` at least.

    Rounding moves a score by 2^-8 of it at most; the true k-th score is `lower` less both errors at least, and an item
    that reaches it is rounded to that less both errors again.
    """
    bits = np.empty(1, np.int32)
    number = bits.view(np.float32)
    bits[0] = np.int32(_in_order(lower)) << 16
    reach = number[0] - abs(number[0]) / 256 - 2 * bound
    number[0] = reach - abs(reach) / 128
    ordered = (bits[0] ^ ((bits[0] >> 31) & 0x7FFFFFFF)) >> 16  # rounded down
    return np.int16(max(ordered - 1, LOWEST))


@_compiled()
def _rank(scores, query, vectors, bound, values, items, offsets, hidden):  # type: ignore[no-untyped-def]
    """`scores` [B, I] (bits of bfloat16, overwritten) -> `values` and `items` [B, k]."""
    num_items, k = scores.shape[1], values.shape[1]
    groups = np.empty(8 * k, np.int16)  # many, so that few of the best k share one
    top, unused = np.empty(k, np.int16), np.empty(k, np.int64)
    whole = num_items // CHUNK * CHUNK
    for user in range(len(scores)):
        row, listed, found = scores[user], values[user], items[user]
        for entry in range(offsets[user], offsets[user + 1]):
            row[hidden[entry]] = MINUS_INFINITY
        for item in range(num_items):
            row[item] = _in_order(row[item])
        cut = _threshold(_lower_bound(row, groups, top, unused), bound[user])
        listed[:] = -np.inf
        found[:] = -1
        for first in range(0, whole, CHUNK):
            chunk = row[first : first + CHUNK]
            if _any_above(chunk, cut):
                for place in range(CHUNK):
                    if chunk[place] > cut:
                        item = first + place
                        _put(listed, found, _inner_product(query[user], vectors[item]), item)
        for item in range(whole, num_items):
            if row[item] > cut:
                _put(listed, found, _inner_product(query[user], vectors[item]), item)
