"""What a past has most of: values of a column, such as genres, with how many of its things have them.

Letters: I items.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.sanitize import clean_text

SEPARATOR = re.compile(r"[|;,/]")
RAREST = 3  # items of the catalogue that share a value at least: what fewer have is no kind of thing
LONGEST = 3  # words of a value: what has more is prose
HALF = 0.5  # of the items that fill a column; where fewer have a kind in it, it is prose, and not told
LEAST = 2  # things of a past that share a value at least
MOST = 4  # values of a column that are told


class Tastes:
    """Of the columns `names` of a catalogue; without any, of its second text column, where that holds kinds.

    Raises UserError for one that is not there.
    """

    def __init__(self, catalog: Catalog, names: Sequence[str]) -> None:
        columns = catalog.table.columns
        if unknown := [name for name in names if name not in columns]:
            raise UserError(f"llm.taste: the items have no column {unknown[0]!r}; allowed: {', '.join(columns)}")
        self._kinds = {name: found for name in names or catalog.text_columns[1:2] if (found := _kinds(catalog, name))}

    def of(self, items: Iterable[int]) -> str:
        """Such as "genres: Drama 7, Comedy 3": the most frequent first, of equal ones by the alphabet; "" without."""
        had = list(items)
        parts = []
        for name, kinds in self._kinds.items():
            counts = Counter(value for item in had for value in kinds[item])
            most = sorted((-number, value) for value, number in counts.items() if number >= LEAST)[:MOST]
            if most:
                parts.append(f"{clean_text(name)}: " + ", ".join(f"{value} {-number}" for number, value in most))
        return "; ".join(parts)


def _kinds(catalog: Catalog, name: str) -> list[frozenset[str]]:
    """The kinds of each item by a column; none of all where it holds prose. [I]"""
    cells = (clean_text(str(cell)) if cell is not None else "" for cell in catalog.table[name])
    rows = [frozenset(filter(None, map(str.strip, SEPARATOR.split(cell)))) for cell in cells]
    counts = Counter(value for row in rows for value in row)
    shared = {value for value, number in counts.items() if number >= RAREST and len(value.split()) <= LONGEST}
    kinds = [row & shared for row in rows]
    filled, known = sum(map(bool, rows)), sum(map(bool, kinds))
    return kinds if filled and known >= HALF * filled else []
