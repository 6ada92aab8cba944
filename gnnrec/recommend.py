"""Recommender: lists for known and new users, for new items, and for ad-hoc queries of text, picture and sound.

Known users and items are served by NumPy alone from the embeddings in the run folder, or from the lists there where a
model does more than that, within half a second of a cold start; what needs the model or the graph imports torch when
it is asked. Letters: U users, I items, k length of a list.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError, count
from gnnrec.notebook import MOST_ROWS, Picture, table
from gnnrec.run_folder import LISTED, Run
from gnnrec.vectors import unit_length

if TYPE_CHECKING:
    from gnnrec.query import ContentQuery

POSTER = (60, 90)  # pixels in a notebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One place of a list; rank 1 is the best. Scores of one list compare with each other, not with other lists."""

    rank: int
    id: str
    score: float
    title: str | None = None

    def to_json(self) -> dict[str, Any]:
        # a quarter of the service's time for a list was in dataclasses.asdict
        return {"rank": self.rank, "id": self.id, "score": self.score, "title": self.title}


class Recommendations(list[Recommendation]):
    """A list that a notebook shows with the pictures of its items."""

    def __init__(self, places: Iterable[Recommendation], pictures: Sequence[Path | None] = ()) -> None:
        super().__init__(places)
        self.pictures = pictures  # by place; empty where the list is not of items

    def _repr_html_(self) -> str:
        from gnnrec.encoders.media import thumbnail  # only a notebook needs it

        head = ["rank", "id", "title", "score"]
        rows: list[list[Any]] = [[one.rank, one.id, one.title, one.score] for one in self]
        if any(self.pictures):
            head = ["", *head]
            for row, path in zip(rows[:MOST_ROWS], self.pictures):  # more rows are not shown
                row.insert(0, Picture(thumbnail(path, POSTER)))
        return table(count(len(self), "place"), head, rows)


class Recommender:
    """Answers from a finished run; nothing is trained, nothing is written."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def load(cls, folder: str | Path) -> "Recommender":
        return cls(Run.load(folder))

    @cached_property
    def titles(self) -> tuple[str | None, ...]:
        return self.run.items.titles() if self.run.items else (None,) * len(self.run.item_ids)

    def recommend(self, user: str, k: int = 10) -> Recommendations:
        """The k best items for a known user that she has not interacted with. Raises UserError for an unknown id."""
        index = self.run.user_index(user)
        if not self.run.ranks_by_embeddings and _count(k) <= LISTED:
            items, scores = self.run.user_list(index)
            return self.places(list(zip(items.tolist(), scores.tolist()))[:k])
        scores = self._scores(index)
        for log in (self.run.train, self.run.val):
            scores[log.item[log.user == index]] = -np.inf
        return self.places(_best(scores, k))

    def recommend_history(self, items: Sequence[str], k: int = 10) -> Recommendations:
        """The k best items for somebody who is in no log and had these items, the newest last; nothing is trained.

        Raises UserError for an unknown item, for no item, and for a model that knows users by training alone.
        """
        from gnnrec.query import score_history

        indexes = self.history_of(items)
        scores = score_history(self.run, indexes).numpy()
        scores[indexes] = -np.inf
        return self.places(_best(scores, k))

    def history_of(self, items: Sequence[str]) -> NDArray[np.int32]:
        """Indexes of what somebody new had. Raises UserError for an unknown item, and for none at all."""
        if not items:
            raise UserError("recommend --history: found no item; expected the id of one or more")
        return np.array([self.run.item_index(item) for item in items], dtype=np.int32)

    def history(self, user: str, k: int = 10) -> Recommendations:
        """The last k items the user had, the newest first; the score is her rating where the log has ratings (nan where
        she gave none), else 1."""
        index = self.run.user_index(user)
        log = self.run.known
        rows = np.flatnonzero(log.user == index)[::-1][: _count(k)]
        ratings = np.ones(len(rows)) if log.rating is None else log.rating[rows]
        return self.places(list(zip(log.item[rows].tolist(), ratings.tolist())))

    def similar_items(self, item: str, k: int = 10) -> Recommendations:
        """The k items nearest to a known one, by cosine of their embeddings."""
        index, vectors = self.run.item_index(item), self.run.item_vectors
        unit = unit_length(vectors)
        scores = unit @ unit[index]
        scores[index] = -np.inf
        return self.places(_best(scores, k))

    def recommend_query(
        self, text: str | None = None, image: Path | None = None, audio: Path | None = None, k: int = 10
    ) -> Recommendations:
        """The k items nearest to an ad-hoc query of any of the three, placed in the item space like a new item."""
        return self.places(_best(self._query.score_items(text, image, audio).numpy(), k))

    def users_for_query(
        self, text: str | None = None, image: Path | None = None, audio: Path | None = None, k: int = 10
    ) -> Recommendations:
        """The k users who would like a new item of this content best: whom to tell about it."""
        refused = self.run.refused
        best = _best(self._query.score_users(text, image, audio).numpy(), k + len(refused))
        best = [pair for pair in best if self.run.user_ids[pair[0]] not in refused][:k]
        return Recommendations(
            Recommendation(rank=place + 1, id=self.run.user_ids[index], score=score)
            for place, (index, score) in enumerate(best)
        )

    @cached_property
    def _query(self) -> "ContentQuery":
        from gnnrec.query import ContentQuery

        return ContentQuery(self.run)

    def _scores(self, user: int) -> NDArray[np.float32]:
        """Of all items for one user. [I]"""
        if self.run.ranks_by_embeddings:
            scores: NDArray[np.float32] = self.run.item_vectors @ self.run.user_vector(user)
            return scores
        import torch

        from gnnrec.models import model_scorer

        scores = model_scorer(self.run.model, self.run.known_graph)(torch.tensor([user]))[0].numpy()
        return scores

    def places(self, best: list[tuple[int, float]]) -> Recommendations:
        """A list of item indexes and scores, the best first, as it is shown."""
        pictures = (self.run.items.media or {}).get("image") if self.run.items else None
        return Recommendations(
            (
                Recommendation(rank=place + 1, id=self.run.item_ids[item], score=score, title=self.titles[item])
                for place, (item, score) in enumerate(best)
            ),
            () if pictures is None else [pictures[item] for item, _ in best],
        )


def _best(scores: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """Indexes and values of the k highest scores, those of -inf left out; of equal ones the lowest index is first."""
    best = np.argsort(-scores, kind="stable")[: _count(k)]
    return [(int(index), float(scores[index])) for index in best if scores[index] > -np.inf]


def _count(k: int) -> int:
    if k < 1:
        raise UserError(f"recommend -k: found {k}; allowed: 1 or more")
    return k
