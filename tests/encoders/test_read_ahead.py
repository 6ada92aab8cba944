import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

import pytest

from gnnrec.encoders.media import Unreadable
from gnnrec.encoders.read_ahead import BATCHES_AHEAD, READERS, read_ahead


def read(content: int) -> int:
    if content % 5 == 0 or 20 <= content < 24:
        raise Unreadable(f"{content} is broken")
    return 10 * content


def test_batches_keep_their_order_and_say_what_is_broken() -> None:
    found = list(read_ahead([(f"key {number}", number) for number in range(30)], read, list, 4))
    assert [len(batch.keys) + len(batch.unusable) for batch in found] == [4] * 7 + [2]
    keys = [key for batch in found for key in batch.keys]
    assert keys == [f"key {number}" for number in range(30) if number % 5 and not 20 <= number < 24]
    assert [value for batch in found for value in batch.ready or ()] == [10 * int(key[4:]) for key in keys]
    assert found[5].ready is None  # 20 to 23: nothing to prepare
    assert found[0].unusable == {"key 0": "0 is broken"}


def test_the_next_batches_are_read_while_one_is_encoded() -> None:
    there = [threading.Event() for _ in range(12)]

    def note(content: int) -> int:
        there[content].set()
        return content

    batches = read_ahead([(str(number), number) for number in range(12)], note, list, 2)
    next(batches)  # and now it would be encoded, for as long as it takes
    assert all(event.wait(timeout=30) for event in there[: 2 * (1 + BATCHES_AHEAD)])
    time.sleep(0.1)
    assert not any(event.is_set() for event in there[2 * (1 + BATCHES_AHEAD) :])  # memory is bounded


class Picture:
    """So large that one would not have many of it."""


def test_few_pictures_are_there_at_full_size() -> None:
    there: weakref.WeakSet[Picture] = weakref.WeakSet()
    most = 0

    def opened(content: int) -> Picture:
        nonlocal most
        picture = Picture()
        there.add(picture)
        most = max(most, len(there))
        return picture

    def prepare(pictures: Iterable[Any]) -> int:
        return sum(1 for _ in pictures)

    batches = list(read_ahead([(str(number), number) for number in range(400)], opened, prepare, 100))
    assert [batch.ready for batch in batches] == [100] * 4
    assert most <= 4 * READERS


def test_what_goes_wrong_in_a_thread_is_raised_and_what_waits_is_dropped() -> None:
    begun = []

    def fail(content: int) -> int:
        begun.append(content)
        raise MemoryError

    with pytest.raises(MemoryError):
        list(read_ahead([(str(number), number) for number in range(100)], fail, list, 1))
    assert len(begun) <= BATCHES_AHEAD + READERS
