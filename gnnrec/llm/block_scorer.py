"""BlockScorer: how much likelier a user's past makes each candidate's text, all candidates in one pass.

score = log p(card | what she had) - log p(card | nothing known), the pointwise mutual information of past and card:
what is likely anyway (a short or a famous title) is taken off. One card cannot move the score of another (`LocalLM`).
Whether it helps is measured for each run, on validation (rerank.py).

Letters: B users, N candidates of each.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.cache import FeatureCache
from gnnrec.language.local import LocalLM
from gnnrec.llm.cards import CARD_VERSION, Cards
from gnnrec.progress import progress

MAX_BLOCKS = 32  # candidates of one row
Pair = tuple[str, int]  # a prompt and an item
BATCH_TOKENS = 1500  # of one pass, padding included


class BlockScorer:
    """With `cache`, a folder, nothing is computed twice. `noun`: what the items are, in the plural."""

    def __init__(self, model: LocalLM, cards: Cards, noun: str, cache: Path | None = None) -> None:
        self.model, self.cards, self.noun, self.cache = model, cards, noun, cache
        self.failures: list[str] = []  # a pass over local weights does not fail
        self._end = model.tokens(";")

    @property
    def name(self) -> str:
        """Everything a score depends on but the items."""
        return f"block {self._kept} {self.noun} {self.cards.config}"

    @property
    def _kept(self) -> str:
        """What a kept score depends on beside its own key, which holds prompt and card."""
        return f"{CARD_VERSION} {self.model.name}"

    def score(self, histories: Sequence[Sequence[int]], windows: Sequence[Sequence[int]]) -> list[NDArray[np.float64]]:
        """Items of the past (the newest last) and candidates of B users -> [N] each; nan where an item has no card."""
        pasts = [self.prompt(history) for history in histories]
        cards = {item: card for window in windows for item in window if (card := self.cards.item(item)) is not None}
        asked = [(past, item) for past, window in zip(pasts, windows) for item in window if item in cards]
        asked += [(self.prompt([]), item) for item in cards]
        found = self._log_probs(dict.fromkeys(asked), cards)
        nothing = self.prompt([])
        return [
            np.array([found[past, i] - found[nothing, i] if i in cards else np.nan for i in window], dtype=np.float64)
            for past, window in zip(pasts, windows)
        ]

    def prompt(self, history: Sequence[int]) -> str:
        return f"My favourite {self.noun} are:" + "".join(f" {title};" for title in self.cards.history(history))

    def _log_probs(self, asked: dict[Pair, None], cards: dict[int, list[int]]) -> dict[Pair, float]:
        """log p of the item's card after each prompt. What was computed is kept pass by pass."""
        if self.cache is None:
            return {pair: value for part in self._compute(list(asked), cards) for pair, value in part.items()}
        keys = {pair: _key(pair[0], cards[pair[1]]) for pair in asked}
        found: dict[Pair, float] = {}
        with FeatureCache(self.cache, self._kept, dim=1) as cache:
            known = cache.fetch(keys.values())
            for part in self._compute([pair for pair in asked if keys[pair] not in known], cards):
                cache.store({keys[pair]: np.array([value], dtype=np.float32) for pair, value in part.items()})
                # Rounded as they are kept, so that the second call gives the same numbers as the first.
                found |= {pair: float(np.float32(value)) for pair, value in part.items()}
        return found | {pair: float(known[key][0]) for pair, key in keys.items() if key in known}

    def _compute(self, asked: list[Pair], cards: dict[int, list[int]]) -> Iterator[dict[Pair, float]]:
        """Pass by pass."""
        by_prompt: dict[str, list[int]] = {}
        for prompt, item in asked:
            by_prompt.setdefault(prompt, []).append(item)
        rows = [
            (prompt, self.model.start + self.model.tokens(prompt), items[first : first + MAX_BLOCKS])
            for prompt, items in by_prompt.items()
            for first in range(0, len(items), MAX_BLOCKS)
        ]
        for batch in progress(_batches(rows, cards), text="reading", unit="pass"):
            blocks = [[cards[item] + self._end for item in items] for _, _, items in batch]
            sums = self.model.log_probs([tokens for _, tokens, _ in batch], blocks)
            yield {
                (prompt, item): float(value)
                for (prompt, _, items), values in zip(batch, sums)
                for item, value in zip(items, values)
            }


Row = tuple[str, list[int], list[int]]  # prompt, its tokens, items


def _batches(rows: list[Row], cards: dict[int, list[int]]) -> list[list[Row]]:
    """Rows of like length together, as many as fit a pass."""
    length = {id(row): len(row[1]) + sum(len(cards[item]) + 1 for item in row[2]) for row in rows}
    batches: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -length[id(row)]):
        if batches and length[id(batches[-1][0])] * (len(batches[-1]) + 1) <= BATCH_TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _key(prompt: str, card: list[int]) -> str:
    return hashlib.sha256(json.dumps([prompt, card]).encode()).hexdigest()
