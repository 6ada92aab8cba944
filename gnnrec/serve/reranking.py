"""Lists reordered by a language model, which may be slow, wrong or away: whatever it does, there is a list in time.

One thread asks it about one list at a time; where that gives nothing, the list stays the graph's and says why. What the
model counts beside the graph is chosen on validation (llm/rerank.py), in that thread, before it is asked anything else.
"""

import asyncio
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gnnrec.errors import UserError, printable
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.list_scorers import ListScorer
from gnnrec.llm.past import Told
from gnnrec.llm.rerank import Reranked, Reranker, in_order
from gnnrec.llm.settings import open_reranker
from gnnrec.llm.tuned_scorer import TunedScorer
from gnnrec.progress import without_progress
from gnnrec.serve.batching import Batcher, Busy

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.serve.served import Listed, Served

SHARE = 0.8  # of the time of a request that the model may take; the rest is for what comes before and after
BROKEN = 3  # failures in a row after which it is left alone for
REST = 30.0  # seconds
# What became of a list, and why it is the graph's: the labels of the counter, which are never ids.
REASONS = {
    "applied": None,
    "unweighted": None,  # as the weight says
    "preparing": "what the language model counts is still being chosen on validation",
    "unanswered": f"the language model gave no answer while its weight was chosen; asked again {REST:g} s after that",
    "unusable": "the language model cannot be used with this run; the log of the service says why",
    "silent": "the language model has nothing to say about these items",
    "busy": "too many lists wait for the language model",
    "late": "the language model gave no answer in time",
    "failed": "the language model failed",
    "resting": f"the language model failed {BROKEN} times in a row and is left alone for {REST:g} s",
}
LASTING = ("applied", "unweighted")  # as long as nothing else changes, the next answer is the same


class Judged(NamedTuple):
    places: list[Reranked]
    outcome: str  # of REASONS
    reason: str | None  # why the order is the graph's
    weight: float | None

    @property
    def lasting(self) -> bool:
        return self.outcome in LASTING

    def to_json(self) -> dict[str, Any]:
        return {"applied": self.reason is None, "weight": self.weight, "reason": self.reason}


class Reranking:
    """Belongs to one event loop."""

    def __init__(self, llm: "LLMConfig", timeout: float, waiting: int) -> None:
        """timeout: seconds that a request may take. waiting: lists that may wait for the model."""
        self.window, self._llm, self._limit = llm.window, llm, SHARE * timeout
        self._pool = ThreadPoolExecutor(1, "language model")
        self._asks: Batcher[Callable[[], Judged], Judged] = Batcher(_call_all, self._pool, most=1, waiting=waiting)
        self._wanted: Served | None = None  # whose weight is chosen
        self._failures, self._rest_until = 0, 0.0
        self.outcomes = dict.fromkeys(REASONS, 0)
        self.asked, self.seconds = 0, 0.0  # of the model, for lists

    def prepare(self, served: "Served") -> None:
        """Begin to choose the weight for a run, and leave off doing so for another one."""
        self._wanted = served
        self._pool.submit(self._prepare, served)

    def _prepare(self, served: "Served") -> None:
        try:
            with without_progress():
                reranker = open_reranker(served.run, self._llm, _say, partial(self._check, served))
        except _Stopped:
            return
        except Exception as error:  # lists are answered all the same
            _say(str(error) if isinstance(error, UserError) else f"the language model: {type(error).__name__}")
            served.unranked = "unusable"
            return
        if reranker.scorer.failures:  # no finding; what it did answer is in the cache, so that each try gets further
            self._rest_until, served.unranked = time.monotonic() + REST, "unanswered"
            return
        _say(reranker.weight.describe())
        served.reranker = reranker

    def _check(self, served: "Served") -> None:
        if self._wanted is not served:
            raise _Stopped

    def state(self, served: "Served") -> str:
        return "ready" if served.reranker else served.unranked

    async def reorder(self, served: "Served", user: int, listed: "Listed", began: float, told: Told = ()) -> Judged:
        """A list of the graph for a user of the run (-1: of nobody's) in the model's order, or as it was; `began`: when
        the request came, by `time.monotonic`; `told`: what she took since the run was trained."""
        found = await self._reordered(served, listed, began + self._limit, user, told)
        self.outcomes[found.outcome] += 1
        return found

    async def _reordered(self, served: "Served", listed: "Listed", end: float, user: int, told: Told) -> Judged:
        reranker = served.reranker
        if reranker is None:
            again = served is self._wanted and time.monotonic() >= self._rest_until  # not of a run that has gone
            if again and served.unranked == "unanswered":
                served.unranked = "preparing"
                self.prepare(served)
            return _kept(listed, served.unranked)
        weight = reranker.weight
        if not weight.value:
            return _kept(listed, "unweighted", weight.describe(), 0.0)
        if time.monotonic() < self._rest_until:
            return _kept(listed, "resting")
        try:
            async with asyncio.timeout(end - time.monotonic()):
                return await self._asks.ask(partial(self._judged, reranker, listed, end, user, told))
        except Busy:
            return _kept(listed, "busy")
        except TimeoutError:  # what it finds out too late is in the cache when it is asked again
            return _kept(listed, "late")

    def _judged(self, reranker: Reranker, listed: "Listed", end: float, user: int, told: Told) -> Judged:
        """In the thread of the model."""
        began, scorer = time.monotonic(), reranker.scorer
        scorer.failures.clear()  # a service runs for long
        if isinstance(scorer, ListScorer):
            scorer.begin(end - began)
        elif isinstance(scorer, BlockScorer | TunedScorer):
            scorer.passes.begin(end - began)
        try:
            with without_progress():
                places = reranker.reorder(user, listed, told)
            failure = f"{REASONS['failed']}: {scorer.failures[0]}" if scorer.failures else None
        except Exception as error:
            traceback.print_tb(error.__traceback__)  # as `Guard` does it
            _say(f"the language model: {type(error).__name__}")
            failure = REASONS["failed"]
        self.asked += 1
        self.seconds += time.monotonic() - began
        if failure and end - began < self._limit / 2:  # it was not given the time
            return _kept(listed, "late")
        self._failures = self._failures + 1 if failure else 0
        if self._failures == BROKEN:
            self._failures, self._rest_until = 0, time.monotonic() + REST
        if failure:
            return _kept(listed, "failed", failure)
        if all(place.llm_score is None for place in places):
            return _kept(listed, "silent")
        return Judged(places, "applied", None, reranker.weight.value)

    def close(self) -> None:
        self._wanted = None
        self._pool.shutdown(cancel_futures=True)


class _Stopped(Exception):
    """Nobody wants the weight any more."""


def _kept(listed: "Listed", outcome: str, reason: str | None = None, weight: float | None = None) -> Judged:
    return Judged(in_order(listed, range(len(listed))), outcome, reason or REASONS[outcome], weight)


def _call_all(asks: list[Callable[[], Judged]]) -> list[Judged]:
    return [ask() for ask in asks]


def _say(line: str) -> None:
    print(printable(f"gnnrec: {line}"), file=sys.stderr)
