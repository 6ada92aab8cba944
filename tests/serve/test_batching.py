"""What is asked together is answered together and in order; who has gone costs nothing; too many are refused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gnnrec.serve.batching import Batcher, Busy


def run(scenario):
    with ThreadPoolExecutor(1) as pool:
        return asyncio.run(scenario(pool))


def test_what_is_asked_within_the_window_is_one_call():
    calls = []

    def double(asks):
        calls.append(len(asks))
        return [2 * ask for ask in asks]

    async def scenario(pool):
        batcher = Batcher(double, pool, window=0.01, most=8)
        return await asyncio.gather(*(batcher.ask(number) for number in range(20)))

    assert run(scenario) == [2 * number for number in range(20)]
    assert calls == [8, 8, 4]


def test_while_one_batch_is_worked_on_the_next_one_gathers():
    calls, go_on = [], threading.Event()

    def work(asks):
        calls.append(list(asks))
        go_on.wait(5)
        return asks

    async def scenario(pool):
        batcher = Batcher(work, pool)
        first = asyncio.create_task(batcher.ask(0))
        while not calls:
            await asyncio.sleep(0.001)
        others = [asyncio.create_task(batcher.ask(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0.01)
        go_on.set()
        return await asyncio.gather(first, *others)

    assert run(scenario) == [0, 1, 2, 3]
    assert calls == [[0], [1, 2, 3]]


def test_who_has_gone_is_not_worked_for_and_more_than_may_wait_are_refused():
    calls, go_on = [], threading.Event()

    def work(asks):
        calls.append(list(asks))
        go_on.wait(5)
        return asks

    async def scenario(pool):
        batcher = Batcher(work, pool, most=1, waiting=2)
        first = asyncio.create_task(batcher.ask("first"))
        while not calls:
            await asyncio.sleep(0.001)
        impatient, patient = (asyncio.create_task(batcher.ask(name)) for name in ("impatient", "patient"))
        await asyncio.sleep(0.001)
        with pytest.raises(Busy):
            await batcher.ask("too many")
        impatient.cancel()
        go_on.set()
        return await asyncio.gather(first, patient)

    assert run(scenario) == ["first", "patient"]
    assert calls == [["first"], ["patient"]]


def test_what_the_work_raises_reaches_everybody_and_the_next_batch_is_worked_on():
    def work(asks):
        if "bad" in asks:
            raise ValueError("no")
        return asks

    async def scenario(pool):
        batcher = Batcher(work, pool, window=0.005)
        failed = await asyncio.gather(batcher.ask("bad"), batcher.ask("good"), return_exceptions=True)
        return failed, await batcher.ask("good")

    failed, later = run(scenario)
    assert [str(error) for error in failed] == ["no", "no"] and later == "good"
