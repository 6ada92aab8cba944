"""Batches of content, read and made ready in threads while the batch before them is encoded."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gnnrec.encoders.media import Unreadable

READERS = max(2, min(8, os.cpu_count() or 1))  # threads; a GPU waits for more of them than a CPU
BATCHES_AHEAD = READERS  # being read or waiting: with the one that is encoded, all that memory holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    keys: Sequence[str]  # of what could be read, in the order of `ready`
    ready: Any  # what `prepare` made of it; None where nothing could be read
    unusable: dict[str, str]  # key -> reason


def read_ahead(
    todo: Sequence[tuple[str, Any]],
    read: Callable[[Any], Any],
    prepare: Callable[[Iterable[Any]], Any],
    size: int,
) -> Iterator[Batch]:
    """Batches of `size` of the (key, content) in `todo`, in their order.

    read: one content as it stands in a catalogue -> what an encoder takes; may raise Unreadable.
    prepare: all that could be read of a batch -> what the network takes. It is given an iterator that reads, so that of
    pictures only those that a thread has in hand are there at full size.
    """

    def load(batch: Sequence[tuple[str, Any]]) -> Batch:
        keys: list[str] = []
        unusable: dict[str, str] = {}

        def readable() -> Iterator[Any]:
            for key, content in batch:
                try:
                    content = read(content)
                except Unreadable as error:
                    unusable[key] = str(error)
                else:
                    keys.append(key)
                    yield content

        contents = readable()
        first = next(contents, None)  # None: nothing of the batch can be read
        ready = None if first is None else prepare(chain((first,), contents))
        return Batch(keys=keys, ready=ready, unusable=unusable)

    waiting: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(READERS)
    try:
        for start in range(0, len(todo), size):
            waiting.append(pool.submit(load, todo[start : start + size]))
            if len(waiting) > BATCHES_AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
