"""What is known of a user's taste: the things that she liked, and what she gave them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gnnrec.datasets import Interactions


@dataclass(frozen=True, slots=True)
class Past:
    """`items`, the newest last."""

    items: tuple[int, ...] = ()
    ratings: tuple[float | None, ...] = ()  # of each item, as far as it was rated; () where ratings tell nothing
    best: float = 0.0  # the highest there is

    def at(self, places: Iterable[int]) -> "Past":
        """These places of it, such as range(3): the three oldest."""
        some = list(places)
        ratings = tuple(self.ratings[place] for place in some) if self.ratings else ()
        return Past(tuple(self.items[place] for place in some), ratings, self.best)

    def __len__(self) -> int:
        return len(self.items)


NOBODY = Past()
Told = Sequence[tuple[int, float | None]]  # items that were taken since, each with its rating if there is one


def past_of(log: Interactions, user: int) -> Past:
    """What counts as liked of a user's rows (`Interactions.liked`), as the log has them; nothing else of her."""
    return pasts_of(log, [user])[0]


def past_with(log: Interactions, user: int, told: Told) -> Past:
    """The same of a user (-1: of somebody new) after what she told of since, in that order: the last word on each item
    counts. What she did not rate is liked."""
    last = dict[int, float | None]()
    for item, rating in told:
        last.pop(item, None)  # so that it stands where it was told of last
        last[item] = rating
    past = past_of(log, user)
    past = past.at(place for place, item in enumerate(past.items) if item not in last)
    if log.rating is None or log.scale is None:
        return Past((*past.items, *last))
    middle = sum(log.scale) / 2
    liked = {item: rating for item, rating in last.items() if rating is None or rating >= middle}
    return Past((*past.items, *liked), (*past.ratings, *liked.values()), past.best)


def pasts_of(log: Interactions, users: Sequence[int]) -> list[Past]:
    """Of each user."""
    rows = np.flatnonzero(np.isin(log.user, users) & log.liked())
    rows = rows[np.argsort(log.user[rows], kind="stable")]
    begins, ends = (np.searchsorted(log.user[rows], users, side) for side in ("left", "right"))
    pasts = []
    for begin, end in zip(begins, ends):
        mine = rows[begin:end]
        past = Past(tuple(log.item[mine].tolist()))
        if log.rating is not None and log.scale is not None:
            past = Past(past.items, tuple(map(log.rating_of, mine.tolist())), log.scale[1])
        pasts.append(past)
    return pasts
