"""Lists that the language model writes: only of the catalogue, and the ones that scoring every title gives."""

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Catalog
from gnnrec.language.local import LocalLM
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.generate import likeliest_titles, title_trie
from gnnrec.llm.token_tree import TokenTree

TITLES = ["Alien", "Aliens", "Alien", None, "Heat", "Heat 2", "Big", "A", "The Matrix", "The Matrix Reloaded", "Theory"]


def cards_of(lm: LocalLM, titles: list[str | None] = TITLES) -> Cards:
    return Cards(Catalog(pl.DataFrame({"title": titles}), ("title",)), lm.tokens, CardConfig())


def prompts(lm: LocalLM) -> list[list[int]]:
    return [
        lm.start + lm.tokens(text) for text in ("My favourite films are: Heat; The Matrix;", "My favourite films are:")
    ]


def scored(lm: LocalLM, item: int) -> float:
    """By a pass over every title, without a tree."""
    card = [*cards_of(lm).item(item), *lm.tokens(";")]  # type: ignore[misc]
    after, before = lm.log_probs(prompts(lm), [[card], [card]])
    return float(after[0] - before[0])


def test_a_tree_reads_every_branch_as_if_it_stood_alone(every_lm: LocalLM) -> None:
    tree = TokenTree(every_lm, prompts(every_lm))
    words = [every_lm.tokens(text) for text in ("abcdefghijkl", "abzz", "qr")]
    first = tree.grow([None, None], [words[0][0], words[2][0]])  # a, q
    second = tree.grow([0, 1], [words[0][1], words[2][1]])  # ab, qr
    third = tree.grow([2, 2], [words[0][2], words[1][2]])  # abc, abz
    assert tree.size == 6
    for found, text in ((first[:, 1], "q"), (second[:, 0], "ab"), (third[:, 0], "abc"), (third[:, 1], "abz")):
        follows = every_lm.tokens("x")
        block = [*every_lm.tokens(text), *follows]
        whole = every_lm.log_probs(prompts(every_lm), [[block, block[:-1]], [block, block[:-1]]])
        alone = [float(values[0] - values[1]) for values in whole]
        assert found[:, follows[0]].tolist() == pytest.approx(alone, abs=1e-4)


def test_a_beam_as_wide_as_the_catalogue_is_scoring_every_title(every_lm: LocalLM) -> None:
    trie = title_trie(cards_of(every_lm), {4}, every_lm.tokens(";"))
    found = likeliest_titles(every_lm, trie, *prompts(every_lm), k=6, beam=1000)
    expected = {item: scored(every_lm, item) for item in (0, 1, 5, 6, 7, 8, 9, 10)}
    best = sorted(expected, key=lambda item: -expected[item])[:6]
    assert [title.items[0] for title in found] == best
    assert [title.score for title in found] == pytest.approx([expected[item] for item in best], abs=1e-4)
    assert np.ptp([expected[item] for item in best]) > 0.1  # it has an opinion


def test_a_narrow_beam_finds_some_of_them_with_the_same_scores(every_lm: LocalLM) -> None:
    trie = title_trie(cards_of(every_lm), (), every_lm.tokens(";"))
    found = likeliest_titles(every_lm, trie, *prompts(every_lm), k=6, beam=2)
    assert 1 <= len(found) <= 6
    assert all(title.score == pytest.approx(scored(every_lm, title.items[0]), abs=1e-4) for title in found)


def test_a_title_of_two_items_is_one_branch_and_what_she_had_is_none(every_lm: LocalLM) -> None:
    end = every_lm.tokens(";")
    found = likeliest_titles(every_lm, title_trie(cards_of(every_lm), (), end), *prompts(every_lm), k=99, beam=1000)
    assert sorted(title.items for title in found) == [(0, 2), (1,), (4,), (5,), (6,), (7,), (8,), (9,), (10,)]
    without = title_trie(cards_of(every_lm), {0, 1, 5, 6, 7, 8, 9, 10}, end)
    found = likeliest_titles(every_lm, without, *prompts(every_lm), k=99)
    assert {title.items for title in found} == {(2,), (4,)}
    assert likeliest_titles(every_lm, title_trie(cards_of(every_lm), range(11), end), *prompts(every_lm), k=9) == []


def naive_beam(lm: LocalLM, beam: int) -> dict[tuple[int, ...], float]:
    """Titles and their scores by reading every beginning anew, from its first token on."""
    cards = cards_of(lm)
    titles = {(*card, *lm.tokens(";")) for item in range(len(TITLES)) if (card := cards.item(item)) is not None}

    def score(tokens: tuple[int, ...]) -> float:
        after, before = lm.log_probs(prompts(lm), [[list(tokens)], [list(tokens)]])
        return float(after[0] - before[0])

    done: dict[tuple[int, ...], float] = {}
    alive: list[tuple[int, ...]] = [()]
    while alive:
        longer = {
            title[: len(start) + 1] for start in alive for title in titles if title[: len(start)] == start != title
        }
        scores = {start: score(start) for start in longer}
        done |= {start: value for start, value in scores.items() if start in titles}
        begun = [start for start in longer if any(title[: len(start)] == start != title for title in titles)]
        ahead = sorted([*done.values(), *(scores[start] for start in begun)], reverse=True)[:beam]
        alive = sorted((start for start in begun if scores[start] >= ahead[-1]), key=lambda start: -scores[start])[
            :beam
        ]
    return done


@pytest.mark.parametrize("beam", [1, 2, 3, 5])
def test_the_beam_is_that_of_a_search_that_reads_everything_anew(every_lm: LocalLM, beam: int) -> None:
    trie = title_trie(cards_of(every_lm), (), every_lm.tokens(";"))
    found = likeliest_titles(every_lm, trie, *prompts(every_lm), k=99, beam=beam)
    expected = naive_beam(every_lm, beam)
    assert [title.score for title in found] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-3)
    ends = {(*every_lm.tokens(f" {TITLES[title.items[0]]}"), *every_lm.tokens(";")) for title in found}
    assert ends == set(expected)
