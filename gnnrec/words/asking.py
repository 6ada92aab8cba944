"""Asked once, never again: a model's answers on disk, its failures counted, and a broken one left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.language.answers import AnswerCache, key_of
from gnnrec.language.endpoint import NoAnswer
from gnnrec.language.sanitize import clean_text
from gnnrec.language.server import BROKEN

LONGEST = 500  # letters of an answer that are kept
FILE = "written.sqlite"  # in the folder `words` of the cache


class Asker:
    """`failures`: why there was no answer, in the order they came; they are never kept. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._cache = AnswerCache(folder / FILE)
        self.failures: list[str] = []
        self._in_a_row = 0

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *error: object) -> None:
        self._cache.__exit__(*error)

    def ask(self, depends_on: Any, answer: Callable[[], str]) -> str | None:
        """A cleaned and bounded text; None where there is none.

        depends_on: everything the answer depends on, as JSON can hold it: the key it is kept under.
        """
        key = key_of(depends_on)
        kept = self._cache.get(key)
        if kept is not None:
            return kept
        if self._in_a_row >= BROKEN:
            self.failures.append(f"the model is left alone after {BROKEN} failures in a row")
            return None
        try:
            text = shortened(clean_text(answer()))
            if not text:
                raise NoAnswer("the answer was empty")
        except NoAnswer as error:
            self.failures.append(str(error))
            self._in_a_row += 1
            return None
        self._in_a_row = 0
        self._cache.put(key, text)
        return text


def shortened(text: str) -> str:
    """Cut to whole words within LONGEST letters."""
    return text if len(text) <= LONGEST else text[: LONGEST + 1].rpartition(" ")[0][:LONGEST] or text[:LONGEST]
