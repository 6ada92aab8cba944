"""Explanations: sentences that are a function of the evidence, and a check that they say nothing else.

The templates render evidence; a language model may put the same evidence into other words, and what it writes is taken
only where the check finds nothing in it that the evidence does not hold. Else the template stands.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gnnrec.language.sanitize import clean_text
from gnnrec.llm.evidence import Evidence

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
    close = [(piece, [name for name, cosine in piece.alike if cosine >= CLOSE]) for piece in had]
    if found := [(piece, modalities) for piece, modalities in close if modalities]:
        first, modalities = found[0]
        words = _listed(word(modality) for modality in modalities)
        close_to = "are close to those of" if len(modalities) > 1 else "is close to that of"
        sentences.append(Sentence(f"Its {words} {close_to} {title_of(first, title)}.", (first.id,)))
    elif own := [piece for piece in told if piece.kind == "content"]:
        words = _listed(word(piece.modality or "") for piece in own)
        verb = "speak" if len(own) > 1 else "speaks"
        sentences.append(Sentence(f"Its own {words} {verb} for it.", _ids(own)))
    if len(sentences) < 2 and (friends := [piece for piece in told if piece.kind == "friend"]):
        sentences.append(Sentence(f"{_friends(len(friends))} had it.", _ids(friends)))
    return sentences


def _friends(count: int) -> str:
    return "A friend of yours" if count == 1 else f"{count} friends of yours"


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


CLOSE = 0.3  # cosine from which two items are said to be close in a modality; neighbours they are below it, too
# Words that an explanation may use beside the titles it names. Closed, since no list of what is forbidden ends.
EVERYDAY = """a also among an and are as because both close enjoyed fit fits for from gave goes had has have if in is it
its like liked likely might may match matches much near of on one or other others own people same seems share shares
should similar since so some speak speaks suit suits taste that the them these they thing this those to too users user
was we well what which who why will with you your yours"""
WORDS = frozenset(EVERYDAY.split())
SOURCES = {  # words that say where a reason comes from, and what has to be in the evidence for them
    "image": frozenset(("picture", "pictures", "poster", "posters", "image", "images", "cover", "covers")),
    "audio": frozenset(("sound", "sounds", "audio")),
    "text": frozenset(("text", "texts", "plot", "story", "description")),
}
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d[\d.,]*|[^\w\s.,;:!?()'’–-]")


def unsupported(text: str, pieces: Sequence[Evidence], item: int, title: Title, titles: Iterable[str]) -> list[str]:
    """What a text says that its evidence does not hold. Empty: the text may be shown.

    Allowed are the titles of the evidence and of the item, with their ratings and counts in the very words of the
    templates, as many friends as the evidence has, WORDS, and the SOURCES that the evidence has. Every other word,
    number and sign is named, and so are titles of the catalogue (`titles`, cleaned) made of allowed words, and that
    there is no word at all. Errs towards refusing.
    """
    left = clean_text(text)
    told = sorted((piece for piece in pieces if piece.item is not None), key=lambda p: -len(title_of(p, title)))
    for piece in told:  # with its rating and count, which belong to no other title
        left = left.replace(_thing(piece, title), " ").replace(
            _thing(piece, title).replace("“", "").replace("”", ""), " "
        )
    if friends := sum(piece.kind == "friend" for piece in pieces):
        left = re.sub(rf"(?<!\w){_friends(friends)}(?!\w)", " ", left, flags=re.IGNORECASE)
    for name in sorted({title(item), *(title(piece.item) for piece in told if piece.item is not None)}, key=len)[::-1]:
        left = re.sub(rf"(?<!\w)[“\"]?{re.escape(name)}[”\"]?(?!\w)", " ", left)
    wrong = [f"title {name!r}" for name in _named(left, titles)]
    if not any(letter.isalpha() for letter in text):
        wrong.append("no words")
    known = {piece.modality for piece in pieces} | {name for piece in pieces for name, _ in piece.alike}
    allowed = set(WORDS)
    for source, words in SOURCES.items():
        if any(str(name).startswith(source) for name in known):
            allowed |= words
    return wrong + [f"word {found!r}" for found in WORD.findall(left) if found.lower() not in allowed]


def _named(text: str, titles: Iterable[str]) -> list[str]:
    """Titles of the catalogue that stand in the text as whole words; those under four letters cannot be told apart."""
    return [
        name
        for name in titles
        if len(name) >= 4 and name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    ]
