"""Answers of servers on disk, by everything they depend on: asked once, never again. Failures are not kept."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.sqlite_file import SqliteFile


def answer_key(model: str, template: str, system: str, prompt: str, **how: Any) -> str:
    """Of everything that an answer depends on: model and revision, template and its version, the very words asked, and
    `how` it is answered (schema, temperature, the longest answer)."""
    return key_of([model, template, system, prompt, how])


def key_of(depends_on: Any) -> str:
    """Of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()


def asked_once(
    path: Path | None, key: str, ask: Callable[[], str], keep: Callable[[str], object] = lambda text: True
) -> str:
    """The answer that is kept under the key, or a new one, which is kept from then on where `keep` finds it worth it.

    path: of the answers; None: nothing is kept.
    """
    if path is None:
        return ask()
    with AnswerCache(path) as cache:
        text = cache.get(key)
        if text is None:
            text = ask()
            if keep(text):
                cache.put(key, text)
    return text


class AnswerCache(SqliteFile):
    """Text by key. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "answers (key TEXT PRIMARY KEY, text TEXT)", "answers")

    def get(self, key: str) -> str | None:
        with self.using():
            row = self.connection.execute("SELECT text FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, text: str) -> None:
        with self.using(), self.connection:
            self.connection.execute("INSERT OR REPLACE INTO answers (key, text) VALUES (?, ?)", (key, text))
