"""The evidence card: what one recommendation rests on, as a short text that a language model can choose from.

One line for each piece, the strongest first: what it is, the typed paths by which it reaches the item, and its share of
what the pieces together contribute. Lines are numbered, since ids of the graph say who somebody is; as many are on the
card as its budget of tokens holds. The same evidence gives the same text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gnnrec.language.sanitize import clean_text
from gnnrec.llm.evidence import Evidence
from gnnrec.llm.sentences import TINY, Title, word

MOST_TOKENS = 240  # of a card
LONGEST_TITLE = 80  # letters


@dataclass(frozen=True, slots=True)
class EvidenceCard:
    text: str  # "" where nothing speaks for the item
    pieces: tuple[Evidence, ...]  # piece n stands in line n, counted from one


def evidence_card(
    pieces: Sequence[Evidence], title: Title, num_tokens: Callable[[str], int], most_tokens: int = MOST_TOKENS
) -> EvidenceCard:
    """Of the pieces that speak for the item; a line that does not fit ends the card."""
    for_it = sorted((piece for piece in pieces if piece.drop > 0), key=lambda piece: -piece.drop)
    total = sum(piece.drop for piece in for_it)
    lines: list[str] = []
    for piece in for_it:
        line = f"[{len(lines) + 1}] {_what(piece, title)}; {'; '.join(_paths(piece))}; weight {piece.drop / total:.0%}"
        if piece.drop < TINY * for_it[0].drop or num_tokens("\n".join([*lines, line])) > most_tokens:
            break
        lines.append(line)
    return EvidenceCard("\n".join(lines), tuple(for_it[: len(lines)]))


def _what(piece: Evidence, title: Title) -> str:
    if piece.kind == "friend":
        return "a friend of yours had it"
    if piece.item is None:
        return f"its own {word(piece.modality or '')}"
    rated = f", which you gave {piece.rating:g}" if piece.rating is not None else ""
    return f"you had “{clean_text(title(piece.item))[:LONGEST_TITLE]}”{rated}"


def _paths(piece: Evidence) -> list[str]:
    """Each way from the user to the item, as node types; with what is known of it."""
    if piece.kind == "friend":
        return ["you > friend > item"]
    if piece.item is None:
        return [f"{word(piece.modality or '')} > item"]
    paths = []
    if piece.common:
        users = f"{piece.common} {'user' if piece.common == 1 else 'users'}"
        paths.append(f"you > item > {users} who had both > item")
    paths += [f"you > item > {word(name)} (alike {cosine:.2f}) > item" for name, cosine in piece.alike]
    return paths or ["more than two steps away"]
