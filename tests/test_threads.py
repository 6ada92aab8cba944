"""Calls side by side: in order, at the same time, with torch's threads dealt out among them."""

import threading
from collections.abc import Iterator

import pytest
import torch

from gnnrec.threads import one_thread, side_by_side


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_jobs_and_calls_meet() -> None:
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=20)  # nobody passes it alone

    def call(job: int) -> tuple[int, int]:
        meeting.wait()
        return job, torch.get_num_threads()

    assert list(side_by_side(call, [3, 1, 2, 0])) == [(3, 1), (1, 1), (2, 1), (0, 1)]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("threads", "jobs", "each"), [(1, 3, 1), (2, 1, 2), (4, 2, 2), (5, 2, 2), (2, 5, 1)])
def test_threads_are_dealt_out(threads: int, jobs: int, each: int) -> None:
    torch.set_num_threads(threads)
    assert set(side_by_side(lambda job: torch.get_num_threads(), range(jobs))) == {each}
    assert torch.get_num_threads() == threads


def test_nothing_to_do() -> None:
    assert list(side_by_side(lambda job: job, [])) == []


def test_what_a_call_raises_is_raised_and_the_threads_are_as_before() -> None:
    torch.set_num_threads(2)

    def call(job: int) -> int:
        return 1 // job

    with pytest.raises(ZeroDivisionError):
        list(side_by_side(call, [1, 1, 0, 1]))
    assert torch.get_num_threads() == 2


def test_one_thread_for_a_while() -> None:
    torch.set_num_threads(3)
    with pytest.raises(ValueError, match="x"), one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError("x")
    assert torch.get_num_threads() == 3
