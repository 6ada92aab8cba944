"""Unusual words, against counts by hand."""

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from gnnrec.datasets import Catalog
from gnnrec.words.concepts import Unusual, Vocabulary, words_in

ALL = Unusual(most=9, least=1, share=0.0, lift=0.0)


def catalog() -> Catalog:
    genres = ["space|war"] * 4 + ["love|war"] * 4 + ["love"] * 4
    return Catalog(pl.DataFrame({"title": ["Same word"] * 12, "genres": genres}), ("title", "genres"))


def group(*items: int) -> csr_array:
    row = np.zeros((1, 12))
    row[0, list(items)] = 1
    return csr_array(row)


def test_words_are_told_by_how_much_more_often_they_stand_there() -> None:
    words = Vocabulary.of(catalog())
    assert words.words == ("love", "space", "war")  # not of the title, where there is another column
    # space: 3 of 3 against 4 of 12; war: 3 of 3 against 8 of 12
    assert words.unusual(group(0, 1, 2), ALL) == [["space", "war"]]
    assert words.unusual(group(0, 1, 2), Unusual(most=1, least=1, share=0, lift=0)) == [["space"]]
    assert words.unusual(group(0, 1, 2), Unusual(most=9, least=1, share=0, lift=2)) == [["space"]]
    assert words.unusual(group(0, 8, 9), Unusual(most=9, least=2, share=0, lift=1.1)) == [[]]  # love: 2 of 3, as usual
    assert words.unusual(group(0, 1, 4, 5), Unusual(most=9, least=2, share=0.6, lift=1)) == [["war"]]
    assert words.unusual(group(), ALL) == [[]]


def test_items_without_words_do_not_count() -> None:
    genres = ["space", "space", "space", None, None, None, "war", "war", "war"]
    words = Vocabulary.of(Catalog(pl.DataFrame({"genres": genres}), ("genres",)))
    group = csr_array(np.array([[1.0, 0, 0, 1, 1, 1, 0, 0, 0]]))
    assert words.unusual(group, Unusual(most=9, least=1, share=1.0, lift=2.0)) == [["space"]]


def test_what_is_rare_is_a_name_and_no_concept() -> None:
    words = Vocabulary.of(Catalog(pl.DataFrame({"text": ["alien ripley", "alien ripley", "alien bishop"]}), ("text",)))
    assert words.words == ("alien",)


def test_a_catalogue_without_text_has_no_words() -> None:
    assert Vocabulary.of(Catalog(pl.DataFrame({"item": ["a", "b"]}))).words == ()


def test_words_of_a_text() -> None:
    assert words_in("The Sci-Fi of '98|O'Hara, IT & 爱") == ["the", "sci-fi", "o'hara", "爱"]
