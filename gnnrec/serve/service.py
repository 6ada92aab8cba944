"""The service apart from HTTP: the run that answers now, the feedback, and the threads in which answers are made."""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gnnrec.errors import UserError
from gnnrec.serve.batching import Batcher, Busy
from gnnrec.serve.feedback import Event, FeedbackLog
from gnnrec.serve.maps import Maps
from gnnrec.serve.served import Grown, Known, Like, Listed, Served
from gnnrec.serve.settings import ServeConfig

if TYPE_CHECKING:  # what imports torch
    from gnnrec.llm.rerank import Reranked
    from gnnrec.recommend import Recommendation
    from gnnrec.serve.reranking import Reranking

Answer = TypeVar("Answer")

LONGEST = 1000  # items of a history that may be asked for
DAY = 86_400  # seconds
PAUSE = DAY  # between two looks for feedback that is too old


class Problem(Exception):
    """What is answered instead: an HTTP status and one line that may be shown to anybody.

    again: seconds after which it is worth asking once more, where that may help (429, 503).
    """

    def __init__(self, status: int, message: str, again: int = 1) -> None:
        super().__init__(message)
        self.status, self.again = status, again


class Service:
    """Belongs to one event loop. A request keeps to the `served` it began with, whatever run has come since."""

    def __init__(
        self, run: Path, runs: Path, feedback: Path, config: ServeConfig, compared: Path | None = None
    ) -> None:
        """runs: the folder whose runs may be changed to. compared: a run whose lists the page shows beside.

        Raises UserError for a folder that is no run.
        """
        self._runs, self._config = runs, config
        self.served = Served(run, config.cached_lists)
        self.compared = None if compared is None else Served(compared, config.cached_lists)
        days = self.served.run.provenance["dataset"].get("retention_days") or 0.0
        self._retention = (days if config.retention_days is None else config.retention_days) * DAY
        self.log = FeedbackLog(feedback)
        self._forget_old()
        self.maps = Maps()
        self._warm, self._early = asyncio.Event(), 0  # how many wait for it
        self._changing = asyncio.Lock()
        self._quick, self._slow, self._disk = (ThreadPoolExecutor(1, name) for name in ("lists", "slow", "feedback"))
        # An ask comes with the run that it is for: the last batch of an old run may hold asks for the new one.
        self._known, self._like, self._grown = (
            Batcher(
                partial(_by_run, method),
                self._quick,
                window=config.window,
                most=config.max_batch,
                waiting=config.max_waiting,
            )
            for method in (Served.known, Served.like, Served.grown)
        )
        self._append = Batcher(self._append_all, self._disk, most=config.max_batch, waiting=config.max_waiting)
        self._one = Batcher(_call_all, self._slow, most=1, waiting=config.max_waiting_slow)
        self.reranking: Reranking | None = None
        if config.llm is not None:
            from gnnrec.serve import reranking

            self.reranking = reranking.Reranking(config.llm, config.timeout, config.max_waiting_slow)
        self._brief = Batcher(_call_all, self._quick, most=1, waiting=config.max_waiting)

    def _forget_old(self) -> None:
        if self._retention and self.log.forget_before(int(time.time() - self._retention)):
            for served in filter(None, (self.served, self.compared)):
                served.answers.clear()  # they are kept by how much feedback there is

    async def keep_limit(self) -> None:
        """Day by day, drop feedback that is older than the limit."""
        while self._retention:
            await asyncio.sleep(PAUSE)
            await asyncio.get_running_loop().run_in_executor(self._disk, self._forget_old)

    @property
    def warm(self) -> bool:
        return self._warm.is_set()

    async def warm_up(self) -> None:
        """Load what lists for known users do not need. What needs it waits: the graph is no two threads' at a time."""
        try:
            for served in filter(None, (self.served, self.compared)):
                await asyncio.get_running_loop().run_in_executor(self._slow, served.warm_up)
        except UserError as error:  # lists for known users are answered all the same
            print(f"gnnrec: {error}", file=sys.stderr)
        finally:
            # What is here by now stays. To look through a million objects for garbage again and again took up to a
            # second, in which nobody was answered.
            gc.freeze()
            gc.enable()
            self._warm.set()
        if self.reranking is not None:
            self.reranking.prepare(self.served)

    async def for_user(self, user: str, k: int) -> bytes:
        """A JSON document; at once where it was made before and nothing has changed since."""
        served = self.served
        key = (user, k, len(self.log.told_by(self._known_as(served, user))), False)
        answer = served.answers.get(key)
        if answer is None:
            answer = document({"user": user}, served, await self.list_for(served, user, k))
            served.answers.put(key, answer)
        return answer

    async def reordered_for_user(self, user: str, k: int) -> bytes:
        """The same by the language model, or why it is the list of the graph."""
        began, served, reranking = time.monotonic(), self.served, self._asked_to_rerank()
        name = self._known_as(served, user)
        told = tuple(self.log.told_by(name))
        key = (user, k, len(told), True)
        answer = served.answers.get(key)
        if answer is None:
            listed = await self.list_for(served, user, max(k, reranking.window))
            index, more = served.users.get(name, -1), served.known_items(told)
            found = await reranking.reorder(served, index, listed, began, more)
            answer = document({"user": user, "rerank": found.to_json()}, served, found.places[:k])
            if found.lasting:
                served.answers.put(key, answer)
        return answer

    def _known_as(self, served: Served, user: str) -> str:
        """What stands for a user in the run and in the feedback. Raises Problem for one who is due to be forgotten."""
        key = served.run.user_key(user)
        if key in served.run.refused:
            raise Problem(404, f"no user with the id {user!r}")
        return key

    def taken(self, served: Served, user: str) -> tuple[int, list[int], list[int]]:
        """The index of a user, -1 for somebody new; the items that the run knows her to have had, and those that came
        by feedback, the oldest first. Raises Problem for nobody."""
        key = self._known_as(served, user)
        index, told = served.users.get(key, -1), self.log.told_by(key)
        if index < 0 and not told:
            raise Problem(404, f"no user with the id {user!r}")
        had = served.had(index).tolist() if index >= 0 else []
        return index, had, [item for item, _ in served.known_items(told) if item not in had]

    async def list_for(self, served: Served, user: str, k: int) -> Listed:
        index, had, more = self.taken(served, user)
        if more:
            return await self._fold_in(served, Grown(index, tuple(had + more), k))
        if index < 0:
            raise Problem(404, "nothing that this user took is known to the run that answers now")
        if not served.run.ranks_by_embeddings:
            return served.known([Known(index, k)])[0]
        return await answered(served.run.folder, self._known.ask((served, Known(index, k))))

    async def for_history(self, history: list[str], k: int) -> bytes:
        served = self.served
        items = tuple(self.item_index(served, name) for name in history)
        return document({"history": history}, served, await self._fold_in(served, Grown(-1, items, k)))

    async def reordered_for_history(self, history: list[str], k: int) -> bytes:
        began, served, reranking = time.monotonic(), self.served, self._asked_to_rerank()
        items = tuple(self.item_index(served, name) for name in history)
        listed = await self._fold_in(served, Grown(-1, items, max(k, reranking.window)))
        found = await reranking.reorder(served, -1, listed, began, [(item, None) for item in items])
        return document({"history": history, "rerank": found.to_json()}, served, found.places[:k])

    def _asked_to_rerank(self) -> "Reranking":
        if self.reranking is None:
            raise Problem(422, "rerank: the service was started without --rerank")
        return self.reranking

    async def _until_warm(self) -> None:
        """Raises Busy where as many wait already as may: all of them are worked on at once then."""
        if self.warm:
            return
        if self._early >= self._config.max_waiting:
            raise Busy
        self._early += 1
        try:
            await self._warm.wait()
        finally:
            self._early -= 1

    async def _fold_in(self, served: Served, ask: Grown) -> Listed:
        await self._until_warm()
        return await answered(served.run.folder, self._grown.ask((served, ask)))

    async def computed(self, served: Served, work: Callable[[], Answer]) -> Answer:
        """What needs the graph, and takes no longer than a list."""
        await self._until_warm()
        found: Answer = await answered(served.run.folder, self._brief.ask(work))
        return found

    async def similar(self, item: str, k: int, by: Served | None = None) -> bytes:
        """by: the run that is asked; None for the one that answers."""
        served = by or self.served
        ask = Like(self.item_index(served, item), k)
        if served.likens_by_index:
            await self._until_warm()
        return document({"item": item}, served, await answered(served.run.folder, self._like.ask((served, ask))))

    async def for_content(self, text: str | None, files: dict[str, Path], k: int, to_users: bool) -> bytes:
        """files: "image", "audio" -> path of what was sent."""
        served = self.served
        recommender = served.recommender
        ask = recommender.users_for_query if to_users else recommender.recommend_query
        found = await answered(served.run.folder, self._one.ask(partial(ask, text=text, **files, k=k)), files)
        return document({}, served, found, "users" if to_users else "items")

    async def explain(self, user: str, item: str, by: Served | None = None) -> bytes:
        """by: the run whose reasons are asked for; None for the one that answers."""
        served = by or self.served
        index, *_ = self.taken(served, user)
        if index < 0:
            raise Problem(
                404, "reasons are found in the run, which does not know this user yet: only her feedback is here"
            )
        self.item_index(served, item)
        if kept := served.reasons.get((user, item)):
            return kept
        found: bytes = await answered(served.run.folder, self._one.ask(partial(served.explained, user, item)))
        return found

    def item(self, item: str) -> bytes:
        served = self.served
        return json.dumps(served.item(self.item_index(served, item)), ensure_ascii=False).encode()

    async def tell(self, user: str, item: str, rating: float | None, timestamp: int | None) -> Event:
        """Take in one interaction; it is on the disk when this returns."""
        self.item_index(self.served, item, status=422)
        scale = self.served.run.provenance["dataset"].get("rating_scale")  # not in runs of before
        if None not in (rating, scale) and not scale[0] <= rating <= scale[1]:
            raise Problem(422, f"rating: found {rating:g}; allowed: {scale[0]:g} to {scale[1]:g}, as in the log")
        key = self.served.run.user_key(user)
        if key in self.served.run.refused:
            raise Problem(422, "nothing more is taken in of a user who is due to be forgotten")
        event: Event = {"user": key, "item": item, "timestamp": timestamp or int(time.time())}
        event |= {} if rating is None else {"rating": rating}
        try:
            await self._append.ask(event)
        except OSError as error:
            raise Problem(503, "the feedback cannot be stored now") from error
        return event

    def _append_all(self, events: list[Event]) -> list[None]:
        self.log.append(events)
        self.log.remember(events)
        return [None] * len(events)

    async def change_run(self, name: str) -> None:
        """Let another run answer; requests that are under way are answered by the old one."""
        folder = self._runs / name
        if Path(name).name != name or not (folder / "run.json").is_file():
            raise Problem(422, f"no finished run {name!r} is there")
        async with self._changing:
            self.served = await answered(folder, asyncio.to_thread(self._ready, folder))
            if self.reranking is not None:
                self.reranking.prepare(self.served)

    def _ready(self, folder: Path) -> Served:
        made = Served(folder, self._config.cached_lists)
        made.warm_up()
        return made

    def item_index(self, served: Served, item: str, status: int = 404) -> int:
        index = served.items.get(item)
        if index is None:
            raise Problem(status, f"no item with the id {item!r}")
        return index

    def close(self) -> None:
        """Finish what was begun, and close the feedback log."""
        for pool in (self._quick, self._slow, self._disk):
            pool.shutdown(cancel_futures=True)
        if self.reranking is not None:
            self.reranking.close()
        self.maps.close()
        self.log.close()


def _by_run(method: Callable[[Served, list[Any]], list[Listed]], asks: list[tuple[Served, Any]]) -> list[Listed]:
    """The answers of each run that is asked, one call a run, in the order of the asks."""
    answers: list[Listed] = [[] for _ in asks]
    for served in {id(served): served for served, _ in asks}.values():
        places = [place for place, (asked, _) in enumerate(asks) if asked is served]
        for place, answer in zip(places, method(served, [asks[place][1] for place in places]), strict=True):
            answers[place] = answer
    return answers


def _call_all(asks: list[Callable[[], Any]]) -> list[Any]:
    return [ask() for ask in asks]


def document(
    asked: dict[str, Any], served: Served, found: Sequence["Recommendation | Reranked"], what: str = "items"
) -> bytes:
    body = asked | {"run": served.name, what: [place.to_json() for place in found]}
    return json.dumps(body, ensure_ascii=False).encode()


async def answered(folder: Path, answer: Awaitable[Answer], files: Mapping[str, Path] | None = None) -> Answer:
    """The answer; an error that the asker can mend as a Problem, which does not say where the run in `folder` and the
    files that were sent lie."""
    try:
        return await answer
    except UserError as error:
        message = str(error)
        for name, path in (files or {}).items():
            message = message.replace(str(path), name)
        raise Problem(422, message.replace(f"{folder}: ", "").replace(str(folder), folder.name)) from error
