"""Explanations: sentences that are a function of the evidence, and a check that they say nothing else.

The templates render evidence; a language model may put the same evidence into other words, and what it writes is taken
only where the check finds nothing in it that the evidence does not hold. Else the template stands.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
# Words that say nothing that could be false. Closed, since no list of what is forbidden ends.
EVERYDAY = """a also an and are as because both fit fits for from goes if in is it its likely may might much of on one
or own seem seems should since so some speak speaks suit suits taste that the them these they thing this those to too
was we well what which why will with you your yours"""
WORDS = frozenset(EVERYDAY.split())
LIKED = ("enjoyed", "liked")  # "you had" as well, and that she rated it so
CLOSENESS = frozenset(("close", "like", "match", "matches", "near", "same", "share", "shares", "similar"))
WISHES = frozenset(("may", "might", "should", "to", "will"))  # before "like", which else says that two are alike
SOURCES = {  # words that say where a reason comes from, and what has to be in the evidence for them
    "image": frozenset(("picture", "pictures", "poster", "posters", "image", "images", "cover", "covers")),
    "audio": frozenset(("sound", "sounds", "audio")),
    "text": frozenset(("text", "texts", "plot", "story", "description")),
}
TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d[\d.,]*|[^\w\s:()'’–-]")
ITEM, FRIENDS, THINGS = "\uf8fe", "\uf8ff", 0xE000  # what was recognized, in signs that a cleaned text cannot hold


def unsupported(text: str, pieces: Sequence[Evidence], item: int, title: Title, titles: Iterable[str]) -> list[str]:
    """What a text says that its evidence does not hold. Empty: the text may be shown.

    Allowed are the titles of the evidence and of the item, with their ratings and counts in the very words of the
    templates, as many friends as the evidence has, WORDS, and the SOURCES that the evidence has. That she had or LIKED
    something is allowed of the things that the evidence says so of, that friends had the item of friends, and CLOSENESS
    where all things of the same sentence are close to the item in every modality that it names. Every other word,
    number and sign is named, and so are titles of the catalogue (`titles`, cleaned) made of allowed words, and that
    there is no word at all. Errs towards refusing.
    """
    left = clean_text(text)
    things = {chr(THINGS + place): piece for place, piece in enumerate(pieces) if piece.item is not None}
    for mark, piece in sorted(things.items(), key=lambda pair: -len(title_of(pair[1], title))):
        for told in (_thing(piece, title), _thing(piece, title).replace("“", "").replace("”", "")):
            left = left.replace(told, f" {mark} ")  # with its rating and count, which belong to no other title
    if friends := sum(piece.kind == "friend" for piece in pieces):
        left = re.sub(rf"(?<!\w){_friends(friends)}(?!\w)", f" {FRIENDS} ", left, flags=re.IGNORECASE)
    marks = {title(item): ITEM} | {title(piece.item): mark for mark, piece in things.items() if piece.item is not None}
    for name in sorted(marks, key=len, reverse=True):
        left = re.sub(rf"(?<!\w)[“\"]?{re.escape(name)}[”\"]?(?!\w)", f" {marks[name]} ", left)
    wrong = [f"title {name!r}" for name in _named(left, titles)]
    if not any(letter.isalpha() for letter in text):
        wrong.append("no words")
    content = {_source(piece.modality) for piece in pieces if piece.kind == "content" and piece.modality}
    sources = content.union(*(_close_in(piece) for piece in pieces))
    sentence: list[str] = []
    for token in [*TOKEN.findall(left), "."]:
        if token not in ".!?;":
            sentence.append(token)
            continue
        wrong += [f"word {word!r}" for word in _untrue(sentence, things, sources)]
        sentence = []
    return wrong


def _untrue(sentence: list[str], things: Mapping[str, Evidence], sources: set[str]) -> Iterator[str]:
    """The words of one sentence that the evidence does not hold."""
    words = [token.lower() for token in sentence]
    said = {source for source, names in SOURCES.items() if names.intersection(words)}
    named = [things[word] for word in words if word in things]
    close = bool(named) and all(found and said <= found for found in map(_close_in, named))
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word == "had" or word in LIKED:
            after, liked = words[place + 1 :], word in LIKED
            of_friends = before == FRIENDS and not liked and after[:1] in (["it"], ["this"], [ITEM])
            named_before = after[:1] != [ITEM] and _hers_before(words[: place - 1], things, liked)
            true = of_friends or (before == "you" and (_hers(after, things, liked) or named_before))
        elif word in CLOSENESS:
            true = close or (word == "like" and before in WISHES)
        else:
            true = word in WORDS or word in (",", ITEM, FRIENDS) or word in things
            true = true or any(word in SOURCES[source] for source in said & sources)
        if not true:
            yield sentence[place]


def _hers(words: Sequence[str], things: Mapping[str, Evidence], liked: bool) -> bool:
    """Whether what follows "you had" or "you liked" begins with things that she had, or liked, and no other."""
    found, place = list[Evidence](), int(words[:1] == ["both"])
    while place < len(words) and words[place] in things:
        found.append(things[words[place]])
        behind = place + 1
        place = next((at for at in range(behind, len(words)) if words[at] not in (",", "and", "or")), len(words))
        if words[place : place + 1] == [ITEM] and place > behind:  # the next clause, or one more thing?
            clause = len(found) == 1 and words[behind] == "," and words[place + 1 : place + 2] not in ([], [","])
            if not clause:
                return False
    return bool(found) and all(piece.liked or not liked for piece in found)


def _hers_before(words: Sequence[str], things: Mapping[str, Evidence], liked: bool) -> bool:
    """Whether what precedes "you had" or "you liked" says what: a thing, "which", or "what" where there is any."""
    if words[-1:] == ["what"]:
        return bool(things) and not liked
    which, named = words[-1:], words[-3:-1] if words[-2:-1] == [","] else words[-2:-1]
    thing = things.get(named[0]) if named and which in (["which"], ["that"]) else None
    return thing is not None and (thing.liked or not liked)


def _close_in(piece: Evidence) -> set[str]:
    """SOURCES, or other modalities, in which a thing is close to the item."""
    return {_source(name) for name, cosine in piece.alike if cosine >= CLOSE}


def _source(modality: str) -> str:
    return next((source for source in SOURCES if modality.startswith(source)), modality)


def _named(text: str, titles: Iterable[str]) -> list[str]:
    """Titles of the catalogue that stand in the text as whole words; those under four letters cannot be told apart."""
    return [
        name
        for name in titles
        if len(name) >= 4 and name in text and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    ]
