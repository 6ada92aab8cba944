"""The list written by the language model itself, under one constraint: every title is one of the catalogue.

With local weights the titles form a trie of tokens, and a beam search goes down it: what is not in the catalogue cannot
even be begun (constrained decoding, De Cao et al. 2021, GENRE). The score of a title is

    log p(title | what she had) - log p(title | what anybody had),

the pointwise mutual information of past and title, as of `BlockScorer`, so that famous and short titles are not the
list of everybody. Both are sums over tokens, which is why the beginnings of titles can be compared by the same
difference; with a beam as wide as the catalogue the list is that of scoring every title. What she had is no branch of
the trie.

Letters: V words of the vocabulary.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from gnnrec.language.local import LocalLM, Soft
from gnnrec.llm.cards import Cards
from gnnrec.llm.token_tree import TokenTree

BEAM = 32  # beginnings kept at each step


@dataclass
class Branch:
    """A beginning of titles. `items`: those whose title ends here, the lowest index first."""

    next: dict[int, "Branch"] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Titled:
    """One title of the catalogue, all items that bear it, and how much likelier the past makes it (nats)."""

    items: tuple[int, ...]
    score: float


def title_trie(cards: Cards, excluded: Collection[int], end: Sequence[int]) -> Branch:
    """The titles of the catalogue as the model's tokens, `end` behind each; items without a title are left out."""
    root, left_out = Branch(), set(excluded)
    for item in range(len(cards.catalog)):
        if item in left_out or (tokens := cards.item(item)) is None:
            continue
        branch = root
        for token in (*tokens, *end):
            branch = branch.next.setdefault(token, Branch())
        branch.items.append(item)
    return root


def likeliest_titles(
    model: LocalLM,
    trie: Branch,
    prompt: Sequence[int],
    neutral: Sequence[int],
    k: int,
    beam: int = BEAM,
    soft: Soft | None = None,
    take: Callable[[int], None] = lambda tokens: None,
) -> list[Titled]:
    """The k titles whose score is highest, as far as a beam finds them; equal scores in the order of the catalogue.

    `prompt` and `neutral` are tokens that end where a title begins; negative ones are tokens of `soft`.
    take: called before each pass with the tokens that it reads; what it raises ends the search.
    """
    take(len(prompt) + len(neutral))
    tree = TokenTree(model, [prompt, neutral], soft)
    alive = _children(trie, None, 0.0, tree.root)
    done: list[Titled] = []
    while alive:
        done += [Titled(tuple(branch.items), score) for branch, _, _, score in alive if branch.items]
        # Titles that are whole take their places of the beam: what is behind all of them is not followed.
        begun = [one for one in alive if one[0].next]
        ahead = sorted([title.score for title in done] + [score for *_, score in begun], reverse=True)[:beam]
        kept = sorted((one for one in begun if one[3] >= ahead[-1]), key=lambda one: -one[3])[:beam]
        if not kept:
            break
        take(2 * len(kept))
        log_probs = tree.grow([parent for _, parent, _, _ in kept], [token for _, _, token, _ in kept])
        first = tree.size - len(kept)
        alive = [
            child
            for row, (branch, _, _, score) in enumerate(kept)
            for child in _children(branch, first + row, score, log_probs[:, row])
        ]
    return sorted(done, key=lambda title: (-title.score, title.items))[:k]


Beginning = tuple[Branch, int | None, int, float]  # where it is, its parent in the tree, its last token, its score


def _children(branch: Branch, number: int | None, score: float, log_probs: Tensor) -> list[Beginning]:
    """What may follow a beginning, with the scores by then. log_probs [2, V]: after the prompt, after the neutral."""
    tokens = list(branch.next)
    gained = (log_probs[0, tokens].double() - log_probs[1, tokens].double()).tolist()
    return [(branch.next[token], number, token, score + more) for token, more in zip(tokens, gained)]
