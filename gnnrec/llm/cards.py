"""The verbalizer: what the graph knows of items and users, as short deterministic texts within a budget of tokens.

A prompt holds what a user liked, what she gave it and what it has in common, and nothing else of her: no id, no name,
no trait. Item texts go through `clean_text`. Letters: I items.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.sanitize import clean_text
from gnnrec.llm.past import Past
from gnnrec.llm.taste import Tastes

Tokenize = Callable[[str], list[int]]
CARD_VERSION = 3  # of the wording; part of every cache key


@dataclass(frozen=True, slots=True)
class CardConfig:
    history: int = 10  # things of the user's past, the newest last
    title_tokens: int = 24  # of one thing in a history, and of a candidate's title
    fields: tuple[str, ...] = ()  # columns of the items that a candidate's card tells beside the title
    field_tokens: int = 24  # of all these together: what is too long leaves those behind it their share
    whole: bool = False  # whether a user's card tells ratings and taste beside titles
    taste: tuple[str, ...] = ()  # columns whose most frequent values it tells; none: the second text column
    user_tokens: int = 400  # of a user's card: what does not fit is left out, the oldest first


def card_config(history: int, fields: str, *, taste: str = "", **more: Any) -> CardConfig:
    """`fields` and `taste`: names of columns with commas between them."""
    columns, told = (tuple(filter(None, map(str.strip, names.split(",")))) for names in (fields, taste))
    return CardConfig(history=history, fields=columns, taste=told, **more)


@dataclass(frozen=True, slots=True)
class UserCard:
    things: tuple[str, ...] = ()  # that she liked, the newest first
    taste: str = ""  # what all of them have in common, not only those named


class Cards:
    """Texts of the items of one catalogue, as tokens of one model."""

    def __init__(self, catalog: Catalog, tokenize: Tokenize, config: CardConfig) -> None:
        self.catalog, self.tokenize, self.config = catalog, tokenize, config
        self._titles = catalog.titles()
        if unknown := [name for name in config.fields if name not in catalog.table.columns]:
            allowed = ", ".join(catalog.table.columns)
            raise UserError(f"llm.fields: the items have no column {unknown[0]!r}; allowed: {allowed}")
        self._tastes = Tastes(catalog, config.taste) if config.whole else None

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

    def user(self, past: Past) -> UserCard:
        """The newest `config.history` things that have a title, each with its rating where the log has ratings, as many
        as fit `config.user_tokens` beside the taste."""
        taste = self._tastes.of(past.items) if self._tastes else ""
        left = self.config.user_tokens - self._length(taste)
        things: list[str] = []
        for place in reversed(range(len(past))):
            if (title := self.title(past.items[place])) is None:
                continue
            rating = past.ratings[place] if self.config.whole and past.ratings else None
            thing = self._short(title) + ("" if rating is None else f", rated {rating:g} of {past.best:g}")
            left -= self._length(thing)
            if len(things) == self.config.history or left < 0:
                break
            things.append(thing)
        return UserCard(tuple(things), taste if things else "")

    def _length(self, text: str) -> int:
        return len(self.tokenize(" " + text)) if text else 0

    def short(self, item: int) -> str | None:
        """Title and fields of a candidate, each cut to whole words within its budget; None where it has no title."""
        title = self.title(item)
        return None if title is None else self._short(title) + self._fields(item)

    def _fields(self, item: int) -> str:
        values = (self.catalog.table[name][item] for name in self.config.fields)
        texts = [text for value in values if value is not None and (text := clean_text(str(value)))]
        told, left = list[str](), self.config.field_tokens
        lengths = [self._length(text) for text in texts]
        for place, text in enumerate(texts):
            share = left // (len(texts) - place)
            short = self._short(text, left - sum(min(length, share) for length in lengths[place + 1 :]))
            if told and self._length(short) > left:  # not even a word of it
                continue
            told.append(short)
            left -= self._length(short)
        return f" ({'; '.join(told)})" if told else ""

    def _short(self, text: str, most: int | None = None) -> str:
        words, most = text.split(" "), self.config.title_tokens if most is None else most
        while len(words) > 1 and self._length(" ".join(words)) > most:
            words.pop()
        return " ".join(words)
