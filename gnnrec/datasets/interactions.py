"""The interaction log with internal indexes: who (user), what (item), when, how much.

Letters: E interactions, U users, I items.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.scratch import is_large_log, of_log, row_blocks

if TYPE_CHECKING:
    from scipy.sparse import csr_array

ROWS_AT_ONCE = 2**23


@dataclass(frozen=True, slots=True)
class Interactions:
    """E rows in order of time where there are timestamps (ties keep the order of the file), else of the file."""

    user: NDArray[np.int32]  # [E] index in 0..num_users
    item: NDArray[np.int32]  # [E] index in 0..num_items
    num_users: int
    num_items: int
    timestamp: NDArray[np.int64] | None = None  # [E] unix seconds, never decreasing
    rating: NDArray[np.float32] | None = None  # [E] as in the log, nan where none was given; None: nobody gives any

    def __post_init__(self) -> None:
        for name in ("item", "timestamp", "rating"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.user):
                raise ValueError(f"interactions: {name} has {len(column)} rows, user has {len(self.user)}")
        for name, size in (("user", self.num_users), ("item", self.num_items)):
            column = getattr(self, name)
            if len(column) and not 0 <= column.min() <= column.max() < size:
                raise ValueError(f"interactions: {name} index outside 0..{size - 1}")
        if self.timestamp is not None and np.any(self.timestamp[1:] < self.timestamp[:-1]):
            raise ValueError("interactions: timestamps have to be in order")

    def __len__(self) -> int:
        return len(self.user)

    def rows(self, select: NDArray[np.bool_] | NDArray[np.int64]) -> "Interactions":
        """The selected rows (a mask or ascending positions) over the same users and items."""
        columns: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else _taken(column, select)
            for name in ("user", "item", "timestamp", "rating")
        }
        return replace(self, **columns)

    @property
    def scale(self) -> tuple[float, float] | None:
        """The lowest and the highest rating; None where there are none, or all are the same and tell nothing."""
        if self.rating is None or not len(self):
            return None
        low, high = float(np.fmin.reduce(self.rating)), float(np.fmax.reduce(self.rating))  # nan only of nothing else
        return (low, high) if low < high else None

    def liked(self) -> NDArray[np.bool_]:
        """Which rows count as liked: those not rated in the lower half of the scale; all where there is none. [E]"""
        if self.rating is None or self.scale is None:
            return np.ones(len(self), dtype=np.bool_)
        return ~(self.rating < sum(self.scale) / 2)

    def rating_of(self, row: int) -> float | None:
        """None where it was not rated."""
        return None if self.rating is None or np.isnan(self.rating[row]) else float(self.rating[row])

    def unordered(self) -> "Interactions":
        """The same rows without their timestamps."""
        return replace(self, timestamp=None)

    def matrix(self) -> "csr_array":
        """Users by items, 1 where there is at least one interaction. [U, I] float32"""
        from scipy.sparse import csr_array  # 0.15 s to import, and a list for a known user needs none

        if is_large_log(len(self)):
            from gnnrec.sampling.long_log import matrix_of

            return matrix_of(self.user, self.item, self.num_users, self.num_items)
        ones = np.ones(len(self), dtype=np.float32)
        matrix = csr_array((ones, (self.user, self.item)), shape=(self.num_users, self.num_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


def _taken(column: NDArray[Any], select: NDArray[Any]) -> NDArray[Any]:
    """column[select], of many rows in a scratch file. select: a mask, positions or a slice."""
    if not isinstance(select, np.ndarray) or not is_large_log(len(select)):
        return column[select]
    is_mask = select.dtype == np.bool_
    made = of_log((int(np.count_nonzero(select)) if is_mask else len(select),), column.dtype)
    first = 0
    for part in row_blocks(len(select), ROWS_AT_ONCE):
        rows = column[part][select[part]] if is_mask else column[select[part]]
        made[first : first + len(rows)] = rows
        first += len(rows)
    return made


def join_logs(first: Interactions, second: Interactions) -> Interactions:
    """Both logs as one, in order of time where there are timestamps."""
    columns: dict[str, Any] = {}
    for name in ("user", "item", "timestamp", "rating"):
        parts = getattr(first, name), getattr(second, name)
        columns[name] = None if parts[0] is None else np.concatenate(parts)
    if columns["timestamp"] is not None:
        order = np.argsort(columns["timestamp"], kind="stable")
        columns = {name: None if column is None else column[order] for name, column in columns.items()}
    return Interactions(num_users=first.num_users, num_items=first.num_items, **columns)


def rows_of_users(user: NDArray[np.int32], num_users: int) -> Iterator[NDArray[np.int64]]:
    """Positions of the rows [E] of some users, then of the next ones, about ROWS_AT_ONCE at a time, each ascending.

    For what is decided among the rows of a user alone, and would take several times the log if done for all at once.
    """
    if len(user) <= ROWS_AT_ONCE:
        yield np.arange(len(user))
        return
    before = np.cumsum(np.bincount(user, minlength=num_users))
    first = 0
    while first < num_users:
        done = before[first - 1] if first else 0
        last = max(int(np.searchsorted(before, done + ROWS_AT_ONCE, side="right")), first + 1)
        yield np.flatnonzero((user >= first) & (user < last))
        first = last
