"""The verbalizer: what the graph knows of items and users, as short deterministic texts within a budget of tokens.

A prompt holds the newest things a user had and nothing else of her: no id, no name, no trait. Item texts go through
`clean_text`. Letters: I items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gnnrec.datasets import Catalog
from gnnrec.language.sanitize import clean_text

Tokenize = Callable[[str], list[int]]
CARD_VERSION = 1  # of the wording; part of every cache key


@dataclass(frozen=True, slots=True)
class CardConfig:
    history: int = 10  # things of the user's past, the newest last
    title_tokens: int = 24  # of one thing in a history, and of a candidate's title


class Cards:
    """Texts of the items of one catalogue, as tokens of one model."""

    def __init__(self, catalog: Catalog, tokenize: Tokenize, config: CardConfig) -> None:
        self.catalog, self.tokenize, self.config = catalog, tokenize, config
        self._titles = catalog.titles()

    def title(self, item: int) -> str | None:
        """How people call it, cleaned; None where it has no title."""
        text = self._titles[item]
        return (clean_text(text) or None) if text is not None else None

    def item(self, item: int) -> list[int] | None:
        """The tokens of a candidate; None where nothing is known by which it could be judged."""
        title = self.title(item)
        return None if title is None else self.tokenize(" " + title)[: self.config.title_tokens]

    def history(self, items: Sequence[int]) -> list[str]:
        """Titles of the newest `config.history` of a history that have one, in the order given (the newest last)."""
        named = [title for item in items if (title := self.title(item)) is not None]
        return [self._short(title) for title in named[-self.config.history :]]

    def short_title(self, item: int) -> str | None:
        """Its title, cut to whole words within the budget; None where it has none."""
        title = self.title(item)
        return None if title is None else self._short(title)

    def _short(self, title: str) -> str:
        words = title.split(" ")
        while len(words) > 1 and len(self.tokenize(" " + " ".join(words))) > self.config.title_tokens:
            words.pop()
        return " ".join(words)
