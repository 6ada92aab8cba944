"""Micro-batching: what is asked at about the same time is answered by one call in a thread.

While one batch is worked on the next one gathers, so that batches grow with the load.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Generic, TypeVar

Ask = TypeVar("Ask")
Answer = TypeVar("Answer")


class Busy(Exception):
    """More wait already than may."""


class Batcher(Generic[Ask, Answer]):
    """Belongs to one event loop."""

    def __init__(
        self,
        work: Callable[[list[Ask]], list[Answer]],
        pool: Executor,
        *,
        window: float = 0.0,
        most: int = 64,
        waiting: int = 256,
    ) -> None:
        """work: the answers to up to `most` asks, in their order. window: seconds that the first ask waits for others.
        waiting: how many may wait."""
        self._work, self._pool, self._window, self._most, self._limit = work, pool, window, most, waiting
        self._waiting: deque[tuple[Ask, asyncio.Future[Answer]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, ask: Ask) -> Answer:
        """Raises Busy, and what `work` raises, which then is raised for the whole batch."""
        if len(self._waiting) >= self._limit:
            raise Busy
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((ask, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        if self._window:
            await asyncio.sleep(self._window)
        while batch := self._next():
            asks, futures = [ask for ask, _ in batch], [future for _, future in batch]
            try:
                answers = await asyncio.get_running_loop().run_in_executor(self._pool, self._work, asks)
            except Exception as error:
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, answer in zip(futures, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    def _next(self) -> list[tuple[Ask, asyncio.Future[Answer]]]:
        """Who still waits: a request that ran out of time has gone."""
        batch: list[tuple[Ask, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._most:
            ask, future = self._waiting.popleft()
            if not future.done():
                batch.append((ask, future))
        return batch
