"""Items that are there twice: with the same content, or nearly.

Letter: n pictures.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from gnnrec.cleaning.contents import Owners
from gnnrec.cleaning.finding import Finding, Merge, shorten
from gnnrec.cleaning.media import Look, Looks
from gnnrec.cleaning.settings import CleanConfig
from gnnrec.datasets.clean import ID
from gnnrec.datasets.raw import LINE, ROW
from gnnrec.errors import missing_extra
from gnnrec.progress import progress

RUN = 4  # letters of a shingle
HASHES = 128  # of a MinHash
FIND_MORE = (0.1, 0.9)  # weights of false and missed candidates: false ones are told apart afterwards
STRICTEST = 0.95  # threshold that datasketch can serve with so many hashes
BLOCK = 1024  # pictures compared with all others at a time
# Parts of a series differ by these alone: numbers, years, and roman numerals.
NUMBERS = re.compile(r"\d+|\b[ivx]+\b", re.IGNORECASE)

Pairs = Mapping[int, tuple[int, str]]  # a later item -> the first one that it is like, and why


def find_duplicates(items: Owners, looks: Looks, config: CleanConfig) -> Iterator[Finding]:
    """duplicate-items, and of the others near-pictures, same-sounds and near-texts."""
    titles, ids, lines = items.catalog.titles(), items.ids, items.lines
    same = same_content(items, looks, config)
    kinds: dict[str, Pairs] = {"duplicate-items": same}
    if config.wants("near-pictures"):
        kinds["near-pictures"] = near_pictures(looks.get("image", ()), config)
    if config.wants("same-sounds"):
        kinds["same-sounds"] = same_sounds(looks.get("audio", ()), config)
    if config.wants("near-texts"):
        kinds["near-texts"] = near_texts(items.catalog.text(), config)
    for kind, pairs in kinds.items():
        for row, (first, why) in sorted(pairs.items()):
            if kind != "duplicate-items" and row in same:
                continue
            other = f"item {ids[first]}" + (f", {shorten(titles[first])}" if titles[first] else "")
            yield Finding(
                kind=kind,
                file=items.raw.table.file,
                line=lines[row],
                id=ids[row],
                value=shorten(titles[row]),
                reason=f"{why} {other}",
                edit=Merge(row, first),
            )


def same_content(items: Owners, looks: Looks, config: CleanConfig) -> Pairs:
    """Items that agree in every column but the id, in the files that these name, and in the given features.

    Not those with neither text nor file nor features, and not where more than most_copies agree: they are many things
    of which little is known.
    """
    media = items.raw.media.values()
    columns = [name for name in items.frame.columns if name not in (items.raw.id, ID, LINE, ROW, *media)]
    texts = items.frame.select(pl.col(columns).map_batches(as_text)).rows() if columns else [()] * len(items.frame)
    content = items.catalog.text()
    groups = defaultdict(list)
    for row, text in enumerate(texts):
        files = tuple(look.digest if look is not None else "" for look in (seen[row] for seen in looks.values()))
        given = [values[row] for values in items.features.values()]
        if not (content[row] or any(files) or any(np.isfinite(part).all() for part in given)):
            continue
        features = hashlib.sha256(b"".join(part.tobytes() for part in given)).digest()
        groups[text, files, features].append(row)
    return firsts(groups.values(), config, "the same content as")


def as_text(column: pl.Series) -> pl.Series:
    """Any column as text that is the same where the values are, but for blanks around them."""
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        return pl.Series(column.name, [repr(value) for value in column.to_list()])
    return column.cast(pl.String).fill_null("").str.strip_chars()


def same_sounds(looks: Sequence[Look | None], config: CleanConfig) -> Pairs:
    groups = defaultdict(list)
    for row, look in enumerate(looks):
        if look is not None and look.digest and not look.broken and not look.blank:
            groups[look.digest].append(row)
    return firsts(groups.values(), config, "the same sound as")


def firsts(groups: Iterable[Sequence[int]], config: CleanConfig, why: str) -> Pairs:
    return {row: (rows[0], why) for rows in groups if len(rows) <= config.most_copies for row in rows[1:]}


def near_pictures(looks: Sequence[Look | None], config: CleanConfig) -> Pairs:
    """Pictures whose perceptual hashes differ in at most hash_distance of 64 bits and whose colours are near too.

    Each with the first that it is like itself, so that no chain of small differences joins two that differ much. A
    file that more than most_copies items share is left out.
    """
    sharing = Counter(look.digest for look in looks if look is not None)
    rows = [
        row
        for row, look in enumerate(looks)
        if look is not None and look.code is not None and sharing[look.digest] <= config.most_copies
    ]
    seen = [look for look in (looks[row] for row in rows) if look is not None]
    codes = np.array([look.code for look in seen], dtype=np.uint64)  # [n]
    colours = [look.colours for look in seen if look.colours is not None]
    found: dict[int, tuple[int, str]] = {}
    for start in progress(range(0, len(codes), BLOCK), text="comparing pictures", unit="block"):
        block = codes[start : start + BLOCK]
        bits = np.bitwise_count(block[:, None] ^ codes[None, : start + BLOCK])  # [BLOCK, pictures up to its end]
        for here, other in np.argwhere(bits <= config.hash_distance):
            later, first = start + int(here), int(other)
            if first >= later or rows[later] in found:
                continue
            if np.abs(colours[later] - colours[first]).mean() <= config.colour_distance:
                found[rows[later]] = rows[first], f"picture like that ({bits[here, other]} of 64 bits differ) of"
    return found


def near_texts(texts: Sequence[str | None], config: CleanConfig) -> Pairs:
    """Texts that share text_likeness of their runs of RUN letters, and all of their numbers.

    MinHash by datasketch finds the candidates, the exact Jaccard similarity decides. A text that more than most_copies
    items have is left out.
    """
    normal = [" ".join((text or "").casefold().split()) for text in texts]
    having = Counter(normal)
    rows = [
        row
        for row, text in enumerate(normal)
        if sum(map(str.isalpha, text)) >= config.letters and having[text] <= config.most_copies
    ]
    if len(rows) < 2:
        return {}
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise missing_extra("clean", "datasketch") from error
    runs = {row: {normal[row][at : at + RUN] for at in range(len(normal[row]) - RUN + 1)} for row in rows}
    index = MinHashLSH(threshold=min(config.text_likeness, STRICTEST), num_perm=HASHES, weights=FIND_MORE)
    found: dict[int, tuple[int, str]] = {}
    for row in progress(rows, text="comparing texts", unit="text"):
        sketch = MinHash(num_perm=HASHES)
        sketch.update_batch([run.encode() for run in runs[row]])
        for first in sorted(index.query(sketch)):
            likeness = len(runs[row] & runs[first]) / len(runs[row] | runs[first])
            if likeness >= config.text_likeness and numbers(normal[row]) == numbers(normal[first]):
                found[row] = first, f"text like that ({likeness:.0%}) of"
                break
        index.insert(row, sketch)
    return found


def numbers(text: str) -> list[str]:
    return sorted(NUMBERS.findall(text))
