"""torch's threads dealt out among whole calls. Threads that share one small product wait for each other at its end, and
at that of the next, hundreds of times in one pass of a model; whole calls have nothing to wait for."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def side_by_side(call: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """The result for each job, in their order; as many at a time as torch has threads.

    Where there are fewer jobs than threads, each job has several. `call` says itself what torch keeps for each thread:
    whether gradients are kept, whether products are rounded.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(jobs))
    if workers < 2:
        yield from map(call, jobs)
        return
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            yield from pool.map(call, jobs)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """For calls of small products that cannot run side by side."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
