"""Files of word vectors -> words and rows, without running anything: word2vec as text and binary, GloVe, and .gz.

Nothing is allocated by what a header claims. Letters: v words, d dimensions.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.fitted.word_table import WordTable
from gnnrec.errors import UserError

FORMATS = "word2vec as text or binary, GloVe text, each of them as .gz too"
MAX_DIM = 10_000
MAX_WORD = 2_000  # bytes
MAX_LINE = MAX_WORD + 40 * MAX_DIM  # bytes
PRINTABLE = re.compile(rb"[!-~]+")  # as numbers are; of float32 hardly ever all bytes
GZIP, PICKLE, ZIP, NUMPY = b"\x1f\x8b", b"\x80", b"PK", b"\x93NUMPY"  # how files begin; no UTF-8 begins with \x80


def read_vectors(path: Path, most: int) -> WordTable:
    """The first `most` words of a file, which stand by frequency in all common ones; of two equal words the first.

    Raises UserError with file and line: for a file that is no such one or broken, for numbers that are not finite.
    """
    with _errors(path), path.open("rb") as plain:
        start = plain.peek(len(NUMPY))
        if start.startswith(GZIP):
            with gzip.open(plain) as unpacked:
                return _table(_rows(path, BufferedReader(unpacked), most, None), path)
        return _table(_rows(path, plain, most, path.stat().st_size), path)


def _rows(path: Path, file: Any, most: int, size: int | None) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """(line, word, vector); of a binary file the line is the number of the word and of the header."""
    start = file.peek(len(NUMPY))
    if start.startswith(PICKLE):
        how = "KeyedVectors.load(FILE).save_word2vec_format('vectors.bin', binary=True)"
        raise UserError(f"{path}: a pickle, as gensim saves it, which can run code when read; convert it: {how}")
    if start.startswith((ZIP, NUMPY)) or not start:
        raise UserError(f"{path}: {'an archive or array' if start else 'an empty file'}; allowed: {FORMATS}")
    first = _line(path, file, 1)
    header = first.split()
    if len(header) == 2 and all(part.isdigit() for part in header):
        claimed, dim = int(header[0]), int(header[1])
        least = claimed * (2 * dim + 1)  # bytes of the shortest rows there can be
        if not 1 <= dim <= MAX_DIM or claimed < 1 or (size is not None and least > size):
            told = "" if size is None else f", the file has {size:,} bytes"
            raise UserError(f"{path}: line 1: found {claimed} words of {dim} numbers{told}; allowed: 1 to {MAX_DIM}")
        number = 1
        for row in islice(_rows_below(path, file, dim), min(claimed, most)):
            number += 1
            yield row
        if number - 1 < min(claimed, most):
            raise UserError(f"{path}: line {number}: the file ends after {number - 1} of {claimed} words")
        return
    dim = len(first.split(b" ")) - 1
    if not 1 <= dim <= MAX_DIM:
        raise UserError(f"{path}: line 1: found {max(dim, 0)} numbers after a word; allowed: {FORMATS}")
    yield _parsed(path, 1, first, dim)
    yield from islice(_text_rows(path, file, dim), most - 1)


def _rows_below(path: Path, file: Any, dim: int) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """Below a header: text or binary, which the first row tells."""
    here = file.tell()
    line = file.readline(MAX_LINE).rstrip(b" \r\n")
    file.seek(here)
    values = line.split(b" ")[1:]
    if (len(values) >= dim and all(map(_is_number, values[-dim:]))) or all(
        PRINTABLE.fullmatch(part) for part in values
    ):
        return _text_rows(path, file, dim)  # what is wrong with its numbers is said there
    return _binary_rows(path, file, dim)


def _text_rows(path: Path, file: Any, dim: int) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    number = 2
    while line := _line(path, file, number):
        yield _parsed(path, number, line, dim)
        number += 1


def _line(path: Path, file: Any, number: int) -> bytes:
    """Without its end; b"" after the last one, and an empty line is one that lacks its numbers."""
    line = file.readline(MAX_LINE)
    if len(line) == MAX_LINE:
        raise UserError(f"{path}: line {number}: longer than {MAX_LINE:,} bytes; allowed: {FORMATS}")
    return line.rstrip(b" \r\n") or line


def _parsed(path: Path, number: int, line: bytes, dim: int) -> tuple[int, str, NDArray[np.float32]]:
    """Some words of GloVe have spaces, as ". . .": the numbers are the last ones of a line."""
    parts = line.rsplit(b" ", dim)
    spaced = parts[0].split(b" ")[1:]
    if len(parts) != dim + 1 or any(_is_number(part) for part in spaced):
        found = len(parts) - 1 + sum(_is_number(part) for part in spaced)
        raise UserError(f"{path}: line {number}: found {found} numbers after the word; allowed: {dim}")
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
            values = np.array([float(part) for part in parts[1:]], dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{path}: line {number}: {error}; allowed: {dim} numbers after the word") from error
    return number, parts[0].decode(errors="replace"), values


def _is_number(part: bytes) -> bool:
    try:
        float(part)
    except ValueError:
        return False
    return True


def _binary_rows(path: Path, file: IO[bytes], dim: int) -> Iterator[tuple[int, str, NDArray[np.float32]]]:
    """A word, a space and float32; the first word2vec ended rows by a newline, gensim does not."""
    number = 2
    while letter := file.read(1):
        word = bytearray()
        while letter != b" ":
            word += letter
            letter = file.read(1)
            if not letter or len(word) > MAX_WORD:
                raise UserError(f"{path}: line {number}: found no space after a word; allowed: {FORMATS}")
        data = file.read(4 * dim)
        if len(data) < 4 * dim:
            raise UserError(f"{path}: line {number}: found {len(data)} bytes after the word; allowed: {4 * dim}")
        yield number, word.lstrip(b"\n").decode(errors="replace"), np.frombuffer(data, dtype="<f4")
        number += 1


def _table(rows: Iterator[tuple[int, str, NDArray[np.float32]]], path: Path) -> WordTable:
    found: dict[str, NDArray[np.float32]] = {}
    for number, word, values in rows:
        if not np.isfinite(values).all():
            raise UserError(f"{path}: line {number}: found a number that is not finite; allowed: finite float32")
        found.setdefault(word, values)
    return WordTable(list(found), np.stack(list(found.values())).astype(np.float32))


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
