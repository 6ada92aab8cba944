"""Passes of a language model over cards behind prompts: each pair once, as many as fit at a time, kept on disk."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.cache import FeatureCache
from gnnrec.progress import progress

MAX_BLOCKS = 32  # cards of one row
BATCH_TOKENS = 1500  # of one pass, padding included

Tokens = tuple[int, ...]
Pair = tuple[Tokens, Tokens]  # a prompt and a card
Row = tuple[Tokens, list[Tokens]]  # a prompt and its cards
Read = Callable[[Sequence[Tokens], Sequence[Sequence[Tokens]]], list[NDArray[np.float64]]]


class Passes:
    """`read`: prompts and the cards of each -> a number for each card. `name`: what the numbers depend on beside the
    tokens. With `folder`, nothing is computed twice; what was computed is kept pass by pass."""

    def __init__(self, read: Read, name: str, folder: Path | None) -> None:
        self.read, self.name, self.folder = read, name, folder

    def values(self, asked: Iterable[Pair]) -> dict[Pair, float]:
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
        rows = [
            (prompt, cards[first : first + MAX_BLOCKS])
            for prompt, cards in by_prompt.items()
            for first in range(0, len(cards), MAX_BLOCKS)
        ]
        for batch in progress(_batches(rows), text="reading", unit="pass"):
            read = self.read([prompt for prompt, _ in batch], [cards for _, cards in batch])
            yield {
                (prompt, card): float(value)
                for (prompt, cards), values in zip(batch, read)
                for card, value in zip(cards, values)
            }


def _batches(rows: list[Row]) -> list[list[Row]]:
    """Rows of like length together, as many as fit a pass."""
    length = {id(row): len(row[0]) + sum(map(len, row[1])) for row in rows}
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -length[id(row)]):
        if batches and length[id(batches[-1][0])] * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches
