"""BlockScorer: how much likelier a user's past makes each candidate's text, all candidates in one pass.

score = log p(card | what she had) - log p(card | nothing known), the pointwise mutual information of past and card:
what is likely anyway (a short or a famous title) is taken off. One card cannot move the score of another (`LocalLM`).
Whether it helps is measured for each run, on validation (rerank.py).

Letters: B users, N candidates of each.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.language.local import LocalLM
from gnnrec.llm.cards import CARD_VERSION, Cards
from gnnrec.llm.passes import Pair, Passes, Tokens
from gnnrec.llm.past import NOBODY, Past


class Prompts:
    """The prompt of a past and the card of a candidate, as tokens. `noun`: what the items are, in the plural."""

    def __init__(self, model: LocalLM, cards: Cards, noun: str) -> None:
        self.model, self.cards, self.noun = model, cards, noun
        self.name = f"{CARD_VERSION} {noun} {cards.config}"
        self._end = model.tokens(";")

    def text(self, past: Past) -> str:
        """The newest thing stands last, next to the candidate."""
        card = self.cards.user(past)
        taste = f"What I like, {card.taste}. " if card.taste else ""
        return f"{taste}My favourite {self.noun} are:" + "".join(f" {thing};" for thing in reversed(card.things))

    def past(self, past: Past, soft: Sequence[int] = ()) -> Tokens:
        """`soft` tokens come first."""
        return (*self.model.start, *soft, *self.model.tokens(self.text(past)))

    def card(self, item: int, soft: Sequence[int] = ()) -> Tokens | None:
        """None where nothing is known by which it could be judged."""
        card = self.cards.item(item)
        return None if card is None else (*soft, *card, *self._end)


class BlockScorer:
    """With `folder`, nothing is computed twice. `passes.budget` may bound what it reads."""

    def __init__(self, model: LocalLM, cards: Cards, noun: str, folder: Path | None = None) -> None:
        self.prompts = Prompts(model, cards, noun)
        self.passes = Passes(model.log_probs, model.name, folder, model.device)
        self.failures = self.passes.failures
        self.name = f"block {model.name} {self.prompts.name}"  # everything a score depends on but the items

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int] = ()
    ) -> list[NDArray[np.float64]]:
        """Pasts and candidates of B users, the most urgent first -> [N] each; nan where an item has no card, and where
        the budget did not last for a list."""
        nothing = self.prompts.past(NOBODY)
        cards = {item: self.prompts.card(item) for window in windows for item in window}
        asked: list[list[Pair | None]] = [
            [(prompt, card) if (card := cards[item]) is not None else None for item in window]
            for history, window in zip(histories, windows)
            for prompt in (self.prompts.past(history), nothing)
        ]
        values = self.passes.lists(asked)
        return [after - before for after, before in zip(values[::2], values[1::2])]
