"""Explanations: sentences that are a function of the evidence, and a check that they say nothing else.

The templates render evidence; a language model may put the same evidence into other words, and what it writes is taken
only where the check finds nothing in it that the evidence does not hold. Else the template stands.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gnnrec.llm.evidence import Evidence
from gnnrec.llm.sanitize import clean_text

MOST_PIECES = 3  # told of in one explanation
TINY = 0.02  # share of the largest drop under which a piece is not worth a sentence
MODALITY_WORDS = {"text": "text", "image": "picture", "audio": "sound"}
Title = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    evidence: tuple[str, ...]  # ids of the pieces it rests on

    def to_json(self) -> dict[str, object]:
        return {"text": self.text, "evidence": list(self.evidence)}


def worth_telling(pieces: Sequence[Evidence]) -> list[Evidence]:
    """The pieces that speak for the item, the strongest first, at most MOST_PIECES."""
    for_it = [piece for piece in pieces if piece.drop > 0]
    largest = max((piece.drop for piece in for_it), default=0.0)
    return [piece for piece in for_it if piece.drop >= TINY * largest][:MOST_PIECES]


def explain(pieces: Sequence[Evidence], title: Title) -> list[Sentence]:
    """One or two sentences; none where nothing in the graph speaks for the item. `title`: item index -> its name."""
    told = worth_telling(pieces)
    had = [piece for piece in told if piece.kind == "had"]
    sentences = []
    if had:
        sentences.append(Sentence("Because you had " + _listed(_thing(piece, title) for piece in had) + ".", _ids(had)))
    close = [(piece, modality) for piece in had for modality, _ in piece.alike]
    if close:
        first = close[0][0]
        words = _listed(word(modality) for modality, _ in first.alike)
        verb = "are" if len(first.alike) > 1 else "is"
        sentences.append(Sentence(f"Its {words} {verb} close to that of {title_of(first, title)}.", (first.id,)))
    elif own := [piece for piece in told if piece.kind == "content"]:
        words = _listed(word(piece.modality or "") for piece in own)
        verb = "speak" if len(own) > 1 else "speaks"
        sentences.append(Sentence(f"Its own {words} {verb} for it.", _ids(own)))
    if not sentences and (friends := [piece for piece in told if piece.kind == "friend"]):
        count = len(friends)
        who = "A friend of yours" if count == 1 else f"{count} friends of yours"
        sentences.append(Sentence(f"{who} had it.", _ids(friends)))
    return sentences


def _thing(piece: Evidence, title: Title) -> str:
    notes = []
    if piece.rating is not None:
        notes.append(f"you gave it {piece.rating:g}")
    if piece.common:
        notes.append(f"{piece.common} {'user' if piece.common == 1 else 'users'} had both")
    return title_of(piece, title) + (f" ({', '.join(notes)})" if notes else "")


def title_of(piece: Evidence, title: Title) -> str:
    assert piece.item is not None
    return f"“{title(piece.item)}”"


def word(modality: str) -> str:
    return MODALITY_WORDS.get(modality, modality.replace("_", " "))


def _listed(parts: Iterable[str]) -> str:
    """a; a and b; a, b and c."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _ids(pieces: Iterable[Evidence]) -> tuple[str, ...]:
    return tuple(piece.id for piece in pieces)


FORBIDDEN = re.compile(
    r"\b(best|greatest|guarantee\w*|price|cheap\w*|discount|free|sale|health\w*|cure\w*|safe|award\w*|everyone|always|"
    r"never|number one|must[- ]see)\b",
    re.IGNORECASE,
)
# Words that say where a reason comes from, and what has to be in the evidence for them.
SOURCES = {
    "image": re.compile(r"\b(pictures?|posters?|images?|covers?|photos?|looks?)\b", re.IGNORECASE),
    "audio": re.compile(r"\b(sounds?|audio|songs?|tunes?|melod\w+)\b", re.IGNORECASE),
    "text": re.compile(r"\b(texts?|plots?|stor(y|ies)|descriptions?|reviews?)\b", re.IGNORECASE),
    "friend": re.compile(r"\bfriends?\b", re.IGNORECASE),
}
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
QUOTED = re.compile(r"[“\"«„]([^”\"»“]{1,200})[”\"»“]")


def unsupported(text: str, pieces: Sequence[Evidence], item: int, title: Title, titles: Iterable[str]) -> list[str]:
    """What a text claims that its evidence does not hold: foreign titles, numbers, quotes, and claims never made.

    `titles`: of the whole catalogue, cleaned. Empty: the text may be shown. Errs towards refusing: a title made of
    everyday words counts as named where its words stand in the text, letter case included.
    """
    told = [title(piece.item) for piece in pieces if piece.item is not None] + [title(item)]
    left = clean_text(text)
    for name in sorted(told, key=len, reverse=True):
        left = left.replace(name, " ")
    wrong = [f"quote {found!r}" for found in QUOTED.findall(left) if found.strip(" .,;")]
    wrong += [f"title {name!r}" for name in _named(left, titles)]
    numbers = {f"{value:g}" for piece in pieces for value in (piece.rating, piece.common or None) if value is not None}
    numbers |= {str(len(pieces)), str(sum(piece.kind == "friend" for piece in pieces))}
    wrong += [f"number {found}" for found in NUMBER.findall(left) if found not in numbers]
    known = {piece.modality for piece in pieces} | {name for piece in pieces for name, _ in piece.alike}
    known |= {piece.kind for piece in pieces}
    for source, words in SOURCES.items():
        if not any(str(name).startswith(source) for name in known):
            wrong += [f"source {found[0]!r}" for found in words.finditer(left)]
    return wrong + [f"claim {found!r}" for found in FORBIDDEN.findall(left)]


def _named(text: str, titles: Iterable[str]) -> list[str]:
    """Titles of the catalogue that stand in the text as whole words; those under four letters cannot be told apart."""
    return [
        name
        for name in titles
        if len(name) >= 4 and name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    ]
