"""Which words are unusually common among the texts of a group of items, compared with the whole catalogue.

Letters: I items, W words, n groups.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gnnrec.datasets import Catalog

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
SHORTEST = 3  # letters of a word in ASCII
RAREST = 3  # items that have a word at least: what fewer have is a name, no concept


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """Which words of a group are told."""

    most: int  # how many
    least: int  # items of the group that have the word
    share: float  # of the group's items with words
    lift: float  # times as often as in the catalogue


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of a catalogue's texts: its text columns, but where there are several not the first, the title."""

    words: tuple[str, ...]  # [W] none that says nothing, such as "the"
    has: "csr_array"  # [I, W] 1 where the text of an item has the word

    @classmethod
    def of(cls, catalog: Catalog) -> "Vocabulary":
        from scipy.sparse import csr_array
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

        columns = catalog.text_columns[1:] or catalog.text_columns
        texts = zip(*(catalog.table[name].cast(str).fill_null("") for name in columns))
        found = [set(words_in(" ".join(row))) for row in texts] or [set[str]() for _ in range(len(catalog))]
        counts: dict[str, int] = {}
        for row in found:
            for word in row:
                counts[word] = counts.get(word, 0) + 1
        told = (word for word, number in counts.items() if number >= RAREST and word not in ENGLISH_STOP_WORDS)
        words = tuple(sorted(told))
        place = {word: number for number, word in enumerate(words)}
        rows = [sorted(place[word] for word in row if word in place) for row in found]
        offsets = np.cumsum([0, *map(len, rows)])
        columns_of = np.array([column for row in rows for column in row], dtype=np.int64)
        ones = np.ones(len(columns_of))
        return cls(words, csr_array((ones, columns_of, offsets), shape=(len(catalog), len(words))))

    def unusual(self, groups: "csr_array", bounds: Unusual) -> list[list[str]]:
        """The words of each group [n, I] (1 for an item in it) within the bounds, those that set it apart most first.

        By c log(c / expected), a word's part of the likelihood ratio (Dunning 1993), c its count in the group.
        """
        usual = self.has.sum(axis=0) / max(int((np.diff(self.has.indptr) > 0).sum()), 1)  # [W]
        known = (np.diff(self.has.indptr) > 0).astype(np.float64)  # items with words
        counts, sizes = (groups @ self.has).tocsr(), groups @ known
        chosen = []
        for row, size in enumerate(sizes):
            begin, end = counts.indptr[row : row + 2]
            number, word = counts.data[begin:end], counts.indices[begin:end]
            ratio = number / np.maximum(size * usual[word], np.finfo(float).tiny)
            keep = (number >= max(bounds.least, bounds.share * size)) & (ratio >= bounds.lift)
            gain = number[keep] * np.log(ratio[keep])
            order = np.lexsort((word[keep], -gain))[: bounds.most]
            chosen.append([self.words[place] for place in word[keep][order]])
        return chosen


def words_in(text: str) -> list[str]:
    """In lower case; words of one or two letters of ASCII are left out."""
    found = (word.casefold() for word in WORD.findall(text))
    return [word for word in found if len(word) >= SHORTEST or not word.isascii()]
