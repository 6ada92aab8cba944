"""The verbalizer: what the graph knows of items and users, as short deterministic texts within a budget of tokens.

A prompt holds the newest things a user had and nothing else of her: no id, no name, no trait. Item texts go through
`clean_text`. Letters: I items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.sanitize import clean_text

Tokenize = Callable[[str], list[int]]
CARD_VERSION = 1  # of the wording; part of every cache key


@dataclass(frozen=True, slots=True)
class CardConfig:
    history: int = 10  # things of the user's past, the newest last
    title_tokens: int = 24  # of one thing in a history, and of a candidate's title
    fields: tuple[str, ...] = ()  # columns of the items that a candidate's card tells beside the title
    field_tokens: int = 24  # of all these together


def card_config(history: int, fields: str) -> CardConfig:
    """`fields`: names of columns with commas between them."""
    names = (name.strip() for name in fields.split(","))
    return CardConfig(history=history, fields=tuple(name for name in names if name))


def readable_items(items: Catalog | None, folder: Path) -> Catalog:
    """The items of the run in `folder`. Raises UserError where none has a text."""
    if items is None or not items.text_columns:
        raise UserError(f"{folder}: its items have no text, so there is nothing that a language model could read")
    return items


class Cards:
    """Texts of the items of one catalogue, as tokens of one model."""

    def __init__(self, catalog: Catalog, tokenize: Tokenize, config: CardConfig) -> None:
        self.catalog, self.tokenize, self.config = catalog, tokenize, config
        self._titles = catalog.titles()
        if unknown := [name for name in config.fields if name not in catalog.table.columns]:
            allowed = ", ".join(catalog.table.columns)
            raise UserError(f"llm.fields: the items have no column {unknown[0]!r}; allowed: {allowed}")

    def title(self, item: int) -> str | None:
        """How people call it, cleaned; None where it has no title."""
        text = self._titles[item]
        return (clean_text(text) or None) if text is not None else None

    def item(self, item: int) -> list[int] | None:
        """The tokens of a candidate; None where nothing is known by which it could be judged."""
        title = self.title(item)
        if title is None:
            return None
        fields = self._fields(item)
        return self.tokenize(" " + title)[: self.config.title_tokens] + (self.tokenize(fields) if fields else [])

    def history(self, items: Sequence[int]) -> list[str]:
        """Titles of the newest `config.history` of a history that have one, in the order given (the newest last)."""
        named = [title for item in items if (title := self.title(item)) is not None]
        return [self._short(title) for title in named[-self.config.history :]]

    def short(self, item: int) -> str | None:
        """Title and fields of a candidate, each cut to whole words within its budget; None where it has no title."""
        title = self.title(item)
        return None if title is None else self._short(title) + self._fields(item)

    def _fields(self, item: int) -> str:
        values = (self.catalog.table[name][item] for name in self.config.fields)
        told = "; ".join(text for value in values if value is not None and (text := clean_text(str(value))))
        return f" ({self._short(told, self.config.field_tokens)})" if told else ""

    def _short(self, text: str, most: int | None = None) -> str:
        words = text.split(" ")
        while len(words) > 1 and len(self.tokenize(" " + " ".join(words))) > (most or self.config.title_tokens):
            words.pop()
        return " ".join(words)
