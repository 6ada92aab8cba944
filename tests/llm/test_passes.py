"""Passes: every pair once, dealt out among threads, with the same values however many there are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

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
