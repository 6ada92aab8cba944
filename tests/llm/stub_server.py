"""A language model as a function of its prompt, without HTTP: what a scorer can be told, and what it was asked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stub:
    answer: Callable[[str], str] = lambda prompt: ""
    letters: Callable[[str], dict[str, float]] = lambda prompt: {}
    name: str = "stub"
    prompts: list[str] = field(default_factory=list)

    def complete(self, system: str, prompt: str, schema: dict[str, Any], max_tokens: int) -> str:
        self.prompts.append(prompt)
        return self.answer(prompt)

    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]:
        self.prompts.append(prompt)
        return self.letters(prompt)

    def num_tokens(self, text: str) -> int:
        return len(text.split())


def candidates(prompt: str) -> list[str]:
    """Titles in the order of the prompt."""
    return re.findall(r"^(?:\[\d+\]|\([A-T]\)) (.*)$", prompt.split("Candidates:")[1], re.MULTILINE)


def past(prompt: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^- (.*)$", prompt.split("Candidates:")[0], re.MULTILINE))
