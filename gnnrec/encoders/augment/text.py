"""Texts: fields and tokens left out or in another order. Each (text, strength, random) -> text, never empty.

Fields are the columns that a catalogue joins by ". "; a sentence within a column counts as a field too. Tokens are
what stands between spaces, bars, commas and semicolons, and in Chinese and Japanese every sign.
"""

import re

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

JOINT = ". "
SIGN = r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
TOKEN = re.compile(rf"([\s|,;]*)({SIGN}|(?:(?!{SIGN})[^\s|,;])+)")  # what stands before a token, and the token


def field_dropout(text: str, strength: float, random: Generator) -> str:
    """Each field is left out with the probability `strength`, but never all."""
    fields = text.split(JOINT)
    kept = _kept(len(fields), strength, random)
    left = JOINT.join(field for field, keep in zip(fields, kept) if keep)
    return left if left.strip() else text


def field_shuffle(text: str, strength: float, random: Generator) -> str:
    """The fields in another order, with the probability `strength`."""
    fields = text.split(JOINT)
    order = random.permutation(len(fields)) if random.random() < strength else range(len(fields))
    return JOINT.join(fields[place] for place in order)


def token_dropout(text: str, strength: float, random: Generator) -> str:
    """Each token is left out with the probability `strength`, but never all; a field goes with its last token."""
    fields = [TOKEN.findall(field) for field in text.split(JOINT)]
    kept = iter(_kept(sum(len(tokens) for tokens in fields), strength, random))
    left = [[pair for pair in tokens if next(kept)] for tokens in fields]
    # The first token that is left needs nothing between it and what stood before.
    return (
        JOINT.join(
            "".join(before * (place > 0) + token for place, (before, token) in enumerate(tokens))
            for tokens in left
            if tokens
        )
        or text
    )


def token_shuffle(text: str, strength: float, random: Generator) -> str:
    """The share `strength` of a field's tokens, rounded, change places among themselves; what stands between tokens
    stays where it is."""
    return JOINT.join(_shuffled(field, strength, random) for field in text.split(JOINT))


def _shuffled(field: str, strength: float, random: Generator) -> str:
    pairs = TOKEN.findall(field)
    chosen = random.permutation(len(pairs))[: round(strength * len(pairs))]
    moved = dict(zip(chosen.tolist(), random.permutation(chosen).tolist()))
    return "".join(before + pairs[moved.get(place, place)][1] for place, (before, _) in enumerate(pairs)) or field


def _kept(size: int, strength: float, random: Generator) -> NDArray[np.bool_]:
    """Which of `size` things stay; one of them drawn at random where none would. [size]"""
    kept = random.random(size) >= strength
    if size and not kept.any():
        kept[random.integers(size)] = True
    return kept
