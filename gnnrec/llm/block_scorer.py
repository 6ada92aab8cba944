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
from gnnrec.llm.passes import Passes, Tokens
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
    """With `folder`, nothing is computed twice."""

    def __init__(self, model: LocalLM, cards: Cards, noun: str, folder: Path | None = None) -> None:
        self.prompts = Prompts(model, cards, noun)
        self.failures: list[str] = []  # a pass over local weights does not fail
        self._passes = Passes(model.log_probs, model.name, folder, model.device)
        self.name = f"block {model.name} {self.prompts.name}"  # everything a score depends on but the items

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int] = ()
    ) -> list[NDArray[np.float64]]:
        """Pasts and candidates of B users -> [N] each; nan where an item has no card."""
        pasts, nothing = [self.prompts.past(history) for history in histories], self.prompts.past(NOBODY)
        cards = {item: card for window in windows for item in window if (card := self.prompts.card(item)) is not None}
        asked = [(past, cards[item]) for past, window in zip(pasts, windows) for item in window if item in cards]
        found = self._passes.values([*asked, *((nothing, card) for card in cards.values())])
        return [
            np.array(
                [found[past, cards[i]] - found[nothing, cards[i]] if i in cards else np.nan for i in window],
                dtype=np.float64,
            )
            for past, window in zip(pasts, windows)
        ]
