"""Passes: every pair once, dealt out among threads, with the same values however many there are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.language.endpoint import Budget
from gnnrec.language.local import LocalLM
from gnnrec.llm import passes
from gnnrec.llm.passes import MAX_BLOCKS, Passes, Tokens

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Reader:
    """The value of a card behind a prompt is told by both; keeps the rows of each pass."""

    def __init__(self) -> None:
        self.passes: list[list[tuple[Tokens, int]]] = []

    def __call__(self, prompts: Sequence[Tokens], blocks: Sequence[Sequence[Tokens]]) -> list[np.ndarray]:
        self.passes.append([(prompt, len(cards)) for prompt, cards in zip(prompts, blocks)])
        return [
            np.array([prompt[0] + card[0] / 100 for card in cards], dtype=np.float64)
            for prompt, cards in zip(prompts, blocks)
        ]


def asked(prompts: int, cards: int, length: int = 10) -> list[tuple[Tokens, Tokens]]:
    return [((prompt, *range(length)), (card, 7)) for prompt in range(prompts) for card in range(cards)]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("prompts", "cards"), [(1, 20), (1, 1), (2, 5), (5, 20), (1, 3 * MAX_BLOCKS + 1)])
def test_values_are_those_of_their_pair_however_they_are_dealt_out(threads: int, prompts: int, cards: int) -> None:
    torch.set_num_threads(threads)
    reader, pairs = Reader(), asked(prompts, cards)
    found = Passes(reader, "x", None, CPU).values([*pairs, *pairs[:3]])
    assert found == {(prompt, card): prompt[0] + card[0] / 100 for prompt, card in pairs}
    rows = [row for batch in reader.passes for row in batch]
    assert sum(number for _, number in rows) == len(pairs)  # each once
    assert max(number for _, number in rows) <= MAX_BLOCKS


def test_no_thread_is_without_a_share_of_what_few_prompts_ask() -> None:
    torch.set_num_threads(2)
    for prompts, rows in ((1, [10, 10]), (2, [20, 20]), (4, [20, 20, 20, 20])):
        reader = Reader()
        Passes(reader, "x", None, CPU).values(asked(prompts, 20))
        assert [number for batch in reader.passes for _, number in batch] == rows
        assert len(reader.passes) == 2
    torch.set_num_threads(1)
    reader = Reader()
    Passes(reader, "x", None, CPU).values(asked(1, 20))
    assert [[number for _, number in batch] for batch in reader.passes] == [[20]]


def test_rows_fill_a_pass_up_to_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "BATCH_TOKENS", 100)
    torch.set_num_threads(1)
    reader = Reader()
    Passes(reader, "x", None, CPU).values(asked(7, 10))  # 11 + 20 tokens a row
    assert sorted(len(batch) for batch in reader.passes) == [1, 3, 3]


def test_a_model_gives_the_same_on_two_threads_and_only_once(tiny_lm: LocalLM, tmp_path: Path) -> None:
    prompts = [(*tiny_lm.start, *tiny_lm.tokens(f"I liked {name};")) for name in ("Alien", "Heat", "The Matrix")]
    pairs = [(prompt, tuple(tiny_lm.tokens(f" {title};"))) for prompt in prompts for title in ("Big", "Up", "Argo")]
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(Passes(tiny_lm.log_probs, "x", tmp_path / str(threads), CPU).values(pairs))
    assert [found[1][pair] for pair in pairs] == pytest.approx([found[0][pair] for pair in pairs], abs=1e-4)
    alone = [float(tiny_lm.log_probs([prompt], [[card]])[0][0]) for prompt, card in pairs]
    assert [found[1][pair] for pair in pairs] == pytest.approx(alone, abs=1e-4)

    def never(*_: object) -> list[np.ndarray]:
        raise AssertionError("it was read before")

    assert Passes(never, "x", tmp_path / "2", CPU).values(pairs) == found[1]


LISTS = [[((prompt, *range(9)), (card, 7)) for card in range(10)] for prompt in range(6)]  # 10 + 20 tokens each


@pytest.mark.guarantee("G17")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("budget", "read", "why"),
    [
        (Budget(60.0, 3, 10**6), 3, "calls"),
        (Budget(60.0, 100, 2 * 30), 2, "tokens"),
        (Budget(60.0, 100, 2 * 30 - 1), 1, "tokens"),
        (Budget(60.0, 6, 6 * 30), 6, ""),
    ],
)
def test_a_budget_that_ends_leaves_the_last_lists_unread(
    monkeypatch: pytest.MonkeyPatch, threads: int, budget: Budget, read: int, why: str
) -> None:
    monkeypatch.setattr(passes, "BATCH_TOKENS", 30)  # one list a pass
    torch.set_num_threads(threads)
    reader = Reader()
    reading = Passes(reader, "x", None, CPU)
    reading.budget = budget.anew(60.0)
    found = reading.lists(LISTS)
    assert [not np.isnan(values).any() for values in found] == [True] * read + [False] * (6 - read)
    assert all(np.isnan(values).all() for values in found[read:])  # none is half read
    assert reading.failures == ([f"the budget of {why} is used up"] if why else [])
    assert (len(reader.passes), reading.budget.used_calls, reading.budget.used_tokens) == (read, read, 30 * read)
    reading.begin(60.0)
    assert not np.isnan(reading.lists(LISTS[:1])[0]).any()  # a new stretch has all of it again


@pytest.mark.guarantee("G17")
def test_time_that_is_up_ends_the_reading_and_what_was_read_is_kept(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    now, reader = [0.0], Reader()

    def slow(prompts: Sequence[Tokens], blocks: Sequence[Sequence[Tokens]]) -> list[np.ndarray]:
        now[0] += 10.0
        return reader(prompts, blocks)

    reading = Passes(slow, "x", tmp_path, CPU)
    lists = [[((prompt, *range(700)), (1, 7))] for prompt in range(4)]  # two of these a pass
    reading.budget = Budget(15.0, 100, 10**6, lambda: now[0])
    assert [bool(np.isnan(values).any()) for values in reading.lists(lists)] == [False] * 4
    reading.begin(5.0)
    assert np.isnan(reading.lists([[((9, *range(1400)), (card, 7)) for card in range(40)]])[0]).all()  # 32 and 8
    assert reading.failures == ["the budget of seconds is used up"]
    before = len(reader.passes)
    reading.begin(5.0)
    assert not np.isnan(reading.lists([[((9, *range(1400)), (card, 7)) for card in range(40)]])[0]).any()
    assert len(reader.passes) == before + 1  # what was read before the end is kept


def test_the_lists_asked_for_first_are_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "BATCH_TOKENS", 1)
    torch.set_num_threads(1)
    reader, lengths = Reader(), (3, 9, 5, 7)
    pairs = [((number, *range(length)), (1, 7)) for number, length in enumerate(lengths)]
    Passes(reader, "x", None, CPU).values(pairs)
    assert [batch[0][0][0] for batch in reader.passes] == [0, 1, 2, 3]
