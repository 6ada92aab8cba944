"""What the lists look like to people: some users with what they had and get, and those the model fails worst.

Letters: n users, k length of the lists, m held-out rows.
"""

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import count
from gnnrec.report.data import Card, Sample
from gnnrec.report.measured import Measured
from gnnrec.run_folder import Run

LIST = 10  # length of the lists and histories shown, each with pictures
KINDS = (("a very active user", 0.98), ("a typical user", 0.5), ("a quiet user", 0.02))  # quantiles of activity
FAILURES = 3


class Cards:
    """The items of a run as people see them."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.titles = run.items.titles() if run.items else (None,) * len(run.item_ids)
        self.pictures = (run.items.media or {}).get("image") if run.items else None

    def title(self, item: int) -> str:
        return self.titles[item] or self.run.item_ids[item]

    def picture(self, item: int) -> Path | None:
        return None if self.pictures is None else self.pictures[item]

    @cached_property
    def notes(self) -> list[str]:
        """The second text column, such as genres; empty without one. [I]"""
        columns = self.run.items.text_columns if self.run.items else ()
        if self.run.items is None or len(columns) < 2:
            return [""] * len(self.run.item_ids)
        return [(value or "").replace("|", ", ") for value in self.run.items.table[columns[1]].cast(str)]

    def of(self, item: int, hit: bool = False) -> Card:
        return Card(title=self.title(item), image=self.picture(item), note=self.notes[item], hit=hit)


def samples(measured: Measured, users: NDArray[np.int64], lists: NDArray[np.int64]) -> list[Sample]:
    """Some of the users [n] with their lists [n, k], chosen by activity alone: nobody can pick the flattering ones."""
    activity = np.bincount(measured.known.user, minlength=measured.known.num_users)[users]
    order = np.argsort(activity, kind="stable")
    chosen: dict[int, str] = {}
    for kind, quantile in KINDS:
        chosen.setdefault(int(order[round(quantile * (len(order) - 1))]), kind)  # few users may be all three
    cards = Cards(measured.run)
    return [sample(measured, cards, int(users[place]), lists[place], kind) for place, kind in chosen.items()]


def failures(measured: Measured) -> list[Sample]:
    """The users whose popular held-out item ranks worst, one row each, the worst first."""
    users, items, ranks = measured.ranks()
    popularity = np.bincount(measured.run.train.item, minlength=measured.run.train.num_items)
    order = np.lexsort((users, -popularity[items], -ranks))
    first = np.sort(np.unique(users[order], return_index=True)[1])[:FAILURES]
    worst = order[first]
    if not len(worst):  # nobody took anything popular
        return []
    lists = measured.lists(users[worst], LIST)
    cards = Cards(measured.run)
    found = []
    for row, recommended in zip(worst, lists):
        where = f"rank {ranks[row]:,}; {count(int(popularity[items[row]]), 'user')} had it in train"
        one = sample(measured, cards, int(users[row]), recommended, "")
        found.append(replace(one, missed=cards.of(int(items[row])), missed_at=where))
    return found


def sample(measured: Measured, cards: Cards, user: int, items: NDArray[np.int64], kind: str) -> Sample:
    rows = np.flatnonzero(measured.known.user == user)
    hits = set(measured.relevant.item[measured.relevant.user == user].tolist())
    who = ", ".join(part for part in (measured.run.user_ids[user], kind) if part)
    return Sample(
        user=f"{who} with {count(len(rows), 'interaction')}",
        history=[cards.of(int(item)) for item in measured.known.item[rows[::-1][:LIST]]],
        recommended=[cards.of(int(item), hit=int(item) in hits) for item in items if item >= 0],
    )
