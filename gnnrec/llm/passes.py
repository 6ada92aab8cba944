"""Passes of a language model over cards behind prompts: each pair once, as many as fit a pass, kept on disk.

Passes run side by side, one on each of torch's threads; what a single prompt asks is dealt out among them. What is
asked first is read first, so that a budget that ends is spent on that.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.encoders.cache import FeatureCache
from gnnrec.language.endpoint import Budget, NoAnswer
from gnnrec.progress import progress
from gnnrec.threads import side_by_side

MAX_BLOCKS = 32  # cards of one row
BATCH_TOKENS = 1500  # of one pass, padding included

Tokens = tuple[int, ...]
Pair = tuple[Tokens, Tokens]  # a prompt and a card
Row = tuple[Tokens, list[Tokens]]  # a prompt and its cards
Read = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], list[NDArray[np.float64]]]


class Passes:
    """`read`: prompts and the cards of each -> a number for each card, on `device`. `name`: what the numbers depend on
    beside the tokens. With `folder`, nothing is computed twice; what was computed is kept pass by pass.

    `budget`: of the passes from now on (a pass is a call); None: without end. `failures`: why lists were not read, once
    a call."""

    def __init__(self, read: Read, name: str, folder: Path | None, device: torch.device) -> None:
        self.read, self.name, self.folder, self.device = read, name, folder, device
        self.budget: Budget | None = None
        self.failures: list[str] = []
        self._spent: str | None = None  # what of the budget is used up, since the last question
        self._lock = threading.Lock()

    def begin(self, seconds: float) -> None:
        """The budget anew, for so much time at most."""
        self.budget = self.budget and self.budget.anew(seconds)

    def lists(self, asked: Sequence[Sequence[Pair | None]]) -> list[NDArray[np.float64]]:
        """The values of lists of pairs; nan where there is none, and all over a list that the budget left half read."""
        found = self.values(pair for pairs in asked for pair in pairs if pair is not None)
        if self._spent:
            self.failures.append(self._spent)
        values = []
        for pairs in asked:
            whole = all(pair is None or pair in found for pair in pairs)
            values.append(np.array([found[pair] if whole and pair else np.nan for pair in pairs], dtype=np.float64))
        return values

    def values(self, asked: Iterable[Pair]) -> dict[Pair, float]:
        """Of each pair; without those for which the budget was not enough."""
        self._spent = None
        pairs = list(dict.fromkeys(asked))
        if self.folder is None:
            return {pair: value for part in self._compute(pairs) for pair, value in part.items()}
        keys = {pair: hashlib.sha256(json.dumps(pair).encode()).hexdigest() for pair in pairs}
        found: dict[Pair, float] = {}
        with FeatureCache(self.folder, self.name, dim=1) as cache:
            known = dict(cache.fetch(keys.values()))
            for part in self._compute([pair for pair in pairs if keys[pair] not in known]):
                cache.store({keys[pair]: np.array([value], dtype=np.float32) for pair, value in part.items()})
                # Rounded as they are kept, so that the second call gives the same numbers as the first.
                found |= {pair: float(np.float32(value)) for pair, value in part.items()}
        return found | {pair: float(known[key][0]) for pair, key in keys.items() if key in known}

    def _compute(self, asked: list[Pair]) -> Iterator[dict[Pair, float]]:
        by_prompt: dict[Tokens, list[Tokens]] = {}
        for prompt, card in asked:
            by_prompt.setdefault(prompt, []).append(card)
        place = {pair: number for number, pair in enumerate(asked)}
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        share = -(-threads // max(len(by_prompt), 1))
        batches = _batches([row for prompt, cards in by_prompt.items() for row in _rows(prompt, cards, share)], threads)
        batches.sort(key=lambda batch: min(place[prompt, cards[0]] for prompt, cards in batch))
        found = side_by_side(self._values, batches) if threads > 1 else map(self._values, batches)
        yield from progress(found, total=len(batches), text="reading", unit="pass")

    def _values(self, batch: list[Row]) -> dict[Pair, float]:
        if not self._affords(sum(len(prompt) + sum(map(len, cards)) for prompt, cards in batch)):
            return {}
        read = self.read([prompt for prompt, _ in batch], [cards for _, cards in batch])
        return {
            (prompt, card): float(value)
            for (prompt, cards), values in zip(batch, read)
            for card, value in zip(cards, values)
        }

    def _affords(self, tokens: int) -> bool:
        with self._lock:  # passes run side by side
            if self.budget is not None and self._spent is None:
                try:
                    self.budget.take(tokens)
                except NoAnswer as error:
                    self._spent = str(error)
            return self._spent is None


def _rows(prompt: Tokens, cards: list[Tokens], least: int) -> list[Row]:
    """The cards of one prompt in their order, MAX_BLOCKS to a row at most, in `least` rows where there are as many."""
    number = max(-(-len(cards) // MAX_BLOCKS), min(least, len(cards)))
    ends = [place * len(cards) // number for place in range(number + 1)]
    return [(prompt, cards[begin:end]) for begin, end in pairwise(ends)]


def _batches(rows: list[Row], threads: int) -> list[list[Row]]:
    """Rows of like length together, as many as fit a pass, but no more than leave every thread its share."""
    length = {id(row): len(row[0]) + sum(map(len, row[1])) for row in rows}
    most = min(BATCH_TOKENS, -(-sum(length.values()) // threads))
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -length[id(row)]):
        if batches and length[id(batches[-1][0])] * (len(batches[-1]) + 1) <= most:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
