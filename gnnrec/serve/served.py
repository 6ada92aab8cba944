"""One run in memory, ready to answer. Nothing in it changes but what is made when it is first asked for.

Letters: U users, I items, B requests answered together.
"""

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.recommend import Recommendation, Recommender
from gnnrec.run_folder import Run
from gnnrec.serve.nearest import Nearest, needs_index
from gnnrec.tracking import read_log
from gnnrec.vectors import unit_length

if TYPE_CHECKING:  # what needs torch is imported when it is asked for
    from gnnrec.llm.explainer import Explainer
    from gnnrec.llm.rerank import Reranker
    from gnnrec.models.fold_in import FoldIn
    from gnnrec.serve.candidates import Content

Listed = list[Recommendation]
Asked = tuple[str, int, int, bool]  # user, length, how much feedback of hers there is, whether reordered


Key = TypeVar("Key")
REASONS = 256  # explanations that are kept


class Known(NamedTuple):
    """A list for a user of the run as the run knows her."""

    user: int
    k: int


class Grown(NamedTuple):
    """A list for a history of items, the oldest first: of a user of the run, or of somebody new (-1)."""

    user: int
    history: tuple[int, ...]
    k: int


class Like(NamedTuple):
    """The items nearest to one."""

    item: int
    k: int


class Served:
    def __init__(self, folder: Path, cached_lists: int) -> None:
        """Reads what lists for known users need. Raises UserError as `Run.load`."""
        self.run = Run.load(folder)
        self.name = folder.resolve().name
        self.recommender = Recommender(self.run)
        self.users = {name: index for index, name in enumerate(self.run.user_ids)}
        self.items = {name: index for index, name in enumerate(self.run.item_ids)}
        self.answers = Answers[Asked](cached_lists)
        self.reasons = Answers[tuple[str, str]](REASONS)  # by user and item
        self.asks: tuple[str, ...] | None = None  # what a query may hold; None until `warm_up`
        self.reranker: Reranker | None = None  # see reranking.py,
        self.unranked = "preparing"  # and why there is none
        log = self.run.known
        order = np.argsort(log.user, kind="stable")  # grouped by user, in the order of time
        self._had = log.item[order]
        self._start = np.concatenate([[0], np.cumsum(np.bincount(log.user, minlength=len(self.users)))])
        self.times_had = np.bincount(log.item, minlength=len(self.items))  # [I]
        self.recommender.titles  # noqa: B018 (made now, not at the first request)
        if self.run.ranks_by_embeddings:
            self._nearest = Nearest(self.run.item_vectors)
            self.run.user_vectors  # noqa: B018
        else:
            self._lists = self.run.lists  # [U, LISTED] items, scores

    def warm_up(self) -> None:
        """Load what the first feedback, history or explanation would wait for: torch, the model and the graph."""
        import torch

        from gnnrec.query import askable

        torch.set_num_threads(1)  # a request is one thread's: two would wait for each other
        self.fold_in  # noqa: B018
        self.content  # noqa: B018
        self.asks = askable(self.run)
        if self.likens_by_index:
            self._cosine  # noqa: B018

    @property
    def likens_by_index(self) -> bool:
        """Whether likeness has to wait for an index, which takes longer to build than a request may."""
        return self.run.has_embeddings and needs_index(len(self.items))

    def had(self, user: int) -> NDArray[np.int32]:
        """What a user of the run took, the oldest first."""
        return self._had[self._start[user] : self._start[user + 1]]

    def known_items(self, told: Sequence[tuple[str, float | None]]) -> list[tuple[int, float | None]]:
        """Items by name, with their ratings, as far as the run knows them."""
        return [(item, rating) for name, rating in told if (item := self.items.get(name)) is not None]

    def known(self, asks: Sequence[Known]) -> list[Listed]:
        """Lists of users as the run knows them. [B]"""
        if not self.run.ranks_by_embeddings:
            items, scores = self._lists
            return [
                self._listed([one for one in zip(items[user, :k].tolist(), scores[user, :k].tolist()) if one[0] >= 0])
                for user, k in asks
            ]
        hidden = [self.had(ask.user) for ask in asks]
        queries = self.run.user_vectors[[ask.user for ask in asks]]
        return [self._listed(best) for best in self._nearest.best(queries, hidden, [ask.k for ask in asks])]

    def grown(self, asks: Sequence[Grown]) -> list[Listed]:
        """Lists of histories, folded in; what is in the history is not in the list. [B]"""
        from gnnrec.models.fold_in import history_log
        from gnnrec.ranking import top_k

        log = history_log([ask.history for ask in asks], len(self.items))
        scorer = self.fold_in.scorer([ask.user for ask in asks], log)
        found = top_k(scorer, np.arange(len(asks)), max(ask.k for ask in asks), log.matrix())
        return [
            self._listed([pair for pair in zip(items[: ask.k], scores[: ask.k]) if pair[0] >= 0])
            for ask, items, scores in zip(asks, found.items.tolist(), found.scores.tolist())
        ]

    def like(self, asks: Sequence[Like]) -> list[Listed]:
        """The items nearest to each by cosine. [B]"""
        hidden = [np.array([ask.item], dtype=np.int32) for ask in asks]
        queries = self._cosine.vectors[[ask.item for ask in asks]]
        return [self._listed(best) for best in self._cosine.best(queries, hidden, [ask.k for ask in asks])]

    def item(self, index: int) -> dict[str, Any]:
        """What is known about one item; no path of its files."""
        catalog = self.run.items
        fields, media = dict[str, Any](), list[str]()
        if catalog is not None:
            row = catalog.table.row(index, named=True)
            fields = {name: None if row[name] is None else str(row[name]) for name in catalog.text_columns}
            media = [name for name, paths in (catalog.media or {}).items() if paths[index] is not None]
        title, times = self.recommender.titles[index], int(self.times_had[index])
        return {"id": self.run.item_ids[index], "title": title, "fields": fields, "media": media, "interactions": times}

    def file(self, index: int, kind: str) -> Path | None:
        """The picture ("image") or sound ("audio") of an item, if it has one."""
        paths = (self.run.items.media or {}).get(kind) if self.run.items is not None else None
        return None if paths is None else paths[index]

    def users_like(self, search: str, k: int) -> list[dict[str, Any]]:
        """Up to k users whose ids hold `search`, whatever its case; those that begin with it first, then short ones."""
        search = search.casefold()
        found = [name for name in self.users if search in name.casefold()]
        found.sort(key=lambda name: (not name.casefold().startswith(search), len(name), name))
        shown = islice((name for name in found if name not in self.run.refused), k)
        return [{"id": name, "interactions": len(self.had(self.users[name]))} for name in shown]

    def history(self, user: int, k: int) -> list[dict[str, Any]]:
        """The last k items that a user of the run had, the newest first; of nobody (-1) none."""
        if user < 0:
            return []
        had = self.recommender.history(self.run.user_ids[user], k)
        rated = self.run.known.rating is not None
        ratings = [place.score if rated and not math.isnan(place.score) else None for place in had]
        return [{"id": place.id, "title": place.title, "rating": rating} for place, rating in zip(had, ratings)]

    def nearness(self, items: Sequence[int], history: Sequence[int]) -> dict[str, list[float | None]]:
        return self.content.nearness(items, history)

    def training(self) -> dict[str, Any]:
        """The rows of the training log, and the figures of the finished run."""
        return {"epochs": read_log(self.run.folder), "metrics": self.run.metrics.get("metrics", {})}

    @cached_property
    def fold_in(self) -> "FoldIn":
        from gnnrec.models.fold_in import FoldIn

        return FoldIn(self.run.model, self.run.known_graph)

    @cached_property
    def content(self) -> "Content":
        from gnnrec.serve.candidates import Content

        return Content(self.run.known_graph)

    @cached_property
    def explainer(self) -> "Explainer":
        from gnnrec.llm.explainer import Explainer

        return Explainer(self.run)

    def explained(self, user: str, item: str) -> bytes:
        """A JSON document. It is kept: who was cut off by a time-out has it when she asks again."""
        document = json.dumps(self.explainer.explain(user, item) | {"run": self.name}, ensure_ascii=False).encode()
        self.reasons.put((user, item), document)
        return document

    @cached_property
    def _cosine(self) -> Nearest:
        if not self.run.has_embeddings:
            raise UserError(f"the model {self.run.recipe.model_name} has no embeddings, so nothing is near to anything")
        return Nearest(unit_length(self.run.item_vectors))

    def _listed(self, best: list[tuple[int, float]]) -> Listed:
        return self.recommender.places(best)


class Answers(Generic[Key]):
    """The answers given last, at most `size`; the one that was not asked for longest goes first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Key, bytes] = OrderedDict()

    def get(self, key: Key) -> bytes | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def clear(self) -> None:
        self._kept = OrderedDict()

    def put(self, key: Key, answer: bytes) -> None:
        self._kept[key] = answer
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
