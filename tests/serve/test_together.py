"""What waits while a thread is at work is answered by one call, and what was answered before without any."""

import asyncio
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gnnrec.datasets import read_events
from gnnrec.recommend import Recommender
from gnnrec.serve.served import Served
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig

MOST = 4  # answered together


class Held:
    """Stands before a function: the first call waits until it is let go, and how much each call is given is noted."""

    def __init__(self, work: Callable[..., Any]) -> None:
        self.work, self.calls, self.go_on = work, [], threading.Event()

    def __call__(self, *given):
        self.calls.append(len(given[-1]) if isinstance(given[-1], list) else 1)
        assert self.go_on.wait(10)
        return self.work(*given)

    async def gathered(self, first, others):
        """The answers, where the others ask while the first one is worked on."""
        tasks = [asyncio.create_task(first)]
        while not self.calls:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(other) for other in others]
        await asyncio.sleep(0.02)
        self.go_on.set()
        return await asyncio.gather(*tasks)


@pytest.fixture
def started(planted_run, tmp_path):
    """A scenario with a service that has read everything -> what it returns."""

    def run(scenario):
        async def whole():
            config = ServeConfig(max_batch=MOST)
            service = Service(planted_run.folder, planted_run.folder.parent, tmp_path / "log.jsonl", config)
            await service.warm_up()
            try:
                return await scenario(service)
            finally:
                service.close()

        return asyncio.run(whole())

    return run


@pytest.mark.parametrize("kind", ["known", "like", "grown"])
def test_lists_that_wait_are_made_together(started, planted_run, monkeypatch, kind):
    recommender, run = Recommender(planted_run), planted_run
    names = list((run.user_ids if kind == "known" else run.item_ids)[:7])
    ask, expected = {
        "known": (Service.for_user, recommender.recommend),
        "like": (Service.similar, recommender.similar_items),
        "grown": (lambda service, item, k: service.for_history([item], k), None),
    }[kind]
    held = Held(getattr(Served, kind))
    # As a plain function, which takes the run that is asked like the method it stands before.
    monkeypatch.setattr(Served, kind, lambda served, asks: held(served, asks))

    async def scenario(service):
        together = await held.gathered(ask(service, names[0], 5), [ask(service, name, 5) for name in names[1:]])
        calls = list(held.calls)
        service.served.answers.clear()
        return calls, together, [await ask(service, name, 5) for name in names]

    calls, together, alone = started(scenario)
    assert calls == [1, MOST, 6 - MOST]
    found = [[place["id"] for place in json.loads(answer)["items"]] for answer in together]
    assert found == [[place["id"] for place in json.loads(answer)["items"]] for answer in alone]
    assert len({tuple(ids) for ids in found}) > 1
    if expected is not None:
        assert found == [[place.id for place in expected(name, 5)] for name in names]


def test_feedback_that_waits_goes_to_the_disk_at_once(started, planted_run, monkeypatch, tmp_path):
    items = planted_run.item_ids
    synced = Held(os.fsync)

    async def scenario(service):
        monkeypatch.setattr(os, "fsync", synced)
        tell = partial(service.tell, rating=None, timestamp=9)
        events = await synced.gathered(tell("first", items[0]), [tell(f"next{n}", items[n]) for n in range(1, 6)])
        monkeypatch.undo()
        return events, [service.log.told_by(event["user"]) for event in events]

    events, told = started(scenario)
    assert len(synced.calls) == 1 + 2  # the first; four that waited; the last
    assert events == read_events(tmp_path / "log.jsonl") and len(events) == 6
    assert told == [[(event["item"], None)] for event in events]


@pytest.mark.parametrize(("kept", "times"), [(0, 5), (1, 4), (2, 2)])
def test_as_many_lists_are_kept_as_are_allowed(serve, tiny_runs, monkeypatch, kept, times):
    recommender, made, known = Recommender.load(tiny_runs["popularity"]), [], Served.known

    def count(served, asks):
        made.extend(asks)
        return known(served, asks)

    monkeypatch.setattr(Served, "known", count)
    client = serve(tiny_runs["popularity"], cached_lists=kept)
    for user in ("u0", "u0", "u1", "u0", "u1"):
        answer = client.get("/recommend", params={"user": user}).json()
        assert answer["items"] == [place.to_json() for place in recommender.recommend(user)]
    assert len(made) == times
