"""CSV and its relatives as strings. Polars reads what is regular; the csv module, three times slower, the rest.

Polars fills short rows, takes blank lines for rows, gives up at a byte that is not UTF-8 and tells no line numbers.
So the records are found first, by where line ends stand outside of quotes, their separators are counted, and what
Polars would mend in silence is kept from it. Regular quotes enclose a whole field and are doubled within it (RFC 4180).
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.dataset import REJECTED_SCHEMA
from gnnrec.datasets.raw import LINE, ROW, RawTable
from gnnrec.errors import UserError, count

SURROGATE = re.compile("[\udc80-\udcff]")  # what the csv module is given for a byte that is not UTF-8
PIECE = 2**24  # bytes decoded at a time
CHUNK = 100_000  # records that are held at a time beside the whole


def read_delimited(
    path: Path,
    file: str,
    *,
    separator: str = ",",
    header: Sequence[str] | None = None,
    quoted: bool = True,
    encoding: str = "utf-8",
) -> RawTable:
    """Read a text table, gzipped or not, with every value as a string and empty fields as null.

    `header` names the columns of a file that has no first line with names. Rows with another number of fields than
    the header and rows that are not UTF-8 are set aside in `rejected`.

    Raises UserError where the file is empty, is a folder, is no or a broken gzip, or is UTF-16.
    """
    content = decode(read_bytes(path, file), file, encoding)
    if len(separator) > 1:  # "::" of MovieLens; the unit separator is in no text
        content, separator = content.replace(separator.encode(), b"\x1f"), "\x1f"
    if not content.strip():
        raise UserError(f"{file}: the file is empty")
    first = 1
    if header is None:
        first = 2
        header = read_header(content, separator, quoted, file)
    found = find_records(content, separator, len(header), first, quoted) if len(header) > 1 else None
    if found is None:
        return read_irregular(content, file, separator, header, first, quoted)
    return read_regular(content, found, file, separator, header)


def read_bytes(path: Path, file: str) -> bytes:
    """The whole file, unzipped where it is a gzip by its first bytes."""
    if path.is_dir():
        raise UserError(f"{file}: is a folder; a file is needed here")
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            return gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file}: broken gzip ({error}); download or pack it again") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    if path.suffix == ".gz" and content:
        raise UserError(f"{file}: not a gzip file in spite of its name (starts with {content[:4]!r})")
    return content


def first_line(path: Path) -> str:
    """To tell kinds of files apart; empty where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return file.readline(10_000).decode("utf-8", "replace").removeprefix("\ufeff").strip()


def decode(content: bytes, file: str, encoding: str) -> bytes:
    """UTF-8 bytes without a byte order mark."""
    if encoding != "utf-8":
        return content.decode(encoding).encode()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in content[:4096]:
        raise UserError(f"{file}: this is UTF-16 or no text at all; save it as UTF-8")
    return content.removeprefix(b"\xef\xbb\xbf")


def read_header(content: bytes, separator: str, quoted: bool, file: str) -> list[str]:
    header = [name.strip() for name in next(records(content[:1_000_000], separator, quoted))]
    if not is_utf8(header):
        raise UserError(f"{file}, line 1: not UTF-8; save the file as UTF-8")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise UserError(f"{file}, line 1: the column {min(twice)!r} is there twice")
    return header


def records(content: bytes, separator: str, quoted: bool) -> Any:
    """A csv.reader in which a byte that is not UTF-8 is a lone surrogate."""
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape", newline="")
    return csv.reader(text, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)


def is_utf8(fields: Sequence[str]) -> bool:
    text = "".join(fields)
    return text.isascii() or not SURROGATE.search(text)


class Records(NamedTuple):
    """Where the records below the header stand. Letter: n of them."""

    starts: NDArray[np.int64]  # [n] offsets in the content
    ends: NDArray[np.int64]  # [n]
    lines: NDArray[np.uint32]  # [n] the line on which each one begins
    bad: NDArray[np.bool_]  # [n] another number of fields than the header, blank, or not UTF-8
    quoted: bool  # whether there are quotes at all


def find_records(content: bytes, separator: str, num_columns: int, first: int, quoted: bool) -> Records | None:
    """The records from record `first` (from 1) on; None where quotes or line ends are not regular."""
    octets = np.frombuffer(content, dtype=np.uint8)
    within = None  # [content] which octets stand within quotes, the opening ones too
    if quoted and b'"' in content:
        within = np.logical_xor.accumulate(octets == ord('"'))
    if not is_regular(octets, within, separator):
        return None
    line_ends = np.flatnonzero(octets[:-1] == ord("\n"))
    lines = np.arange(2, len(line_ends) + 2, dtype=np.uint32)
    if within is not None:
        ends_record = ~within[line_ends]
        line_ends, lines = line_ends[ends_record], lines[ends_record]
    boundaries = np.concatenate([[0], line_ends + 1, [len(octets)]])
    starts, ends = boundaries[first - 1 : -1], boundaries[first:]
    lines = np.append(np.uint32(1), lines)[first - 1 :]
    if not len(starts):
        return Records(starts, ends, lines, np.empty(0, dtype=bool), within is not None)
    separates = octets == ord(separator)
    if within is not None:
        np.greater(separates, within, out=separates)  # and not within
    bad = np.empty(len(starts), dtype=bool)
    for block in range(0, len(starts), CHUNK):  # reduceat copies what it adds, as four octets each
        rows = slice(block, block + CHUNK)
        begin, end = starts[block], ends[rows][-1]
        separators = np.add.reduceat(separates[begin:end], starts[rows] - begin, dtype=np.int32)
        bad[rows] = separators != num_columns - 1
    if not all_utf8(content):
        for number in np.flatnonzero(np.logical_or.reduceat(octets >= 128, starts)):
            bad[number] |= not is_utf8([decoded(content[starts[number] : ends[number]])])
    return Records(starts, ends, lines, bad, within is not None)


def is_regular(octets: NDArray[np.uint8], within: NDArray[np.bool_] | None, separator: str) -> bool:
    """Quotes open and close at the edges of fields only, and no carriage return ends a line by itself."""
    ends_line = octets == ord("\n")
    if (octets[-1] == ord("\r")) or ((octets[:-1] == ord("\r")) & ~ends_line[1:]).any():
        return False
    if within is None:
        return True
    quote = octets == ord('"')
    edge = ends_line | (octets == ord(separator)) | quote  # a doubled quote closes and opens again
    opens_badly = (quote & within)[1:] & ~edge[:-1]
    edge |= octets == ord("\r")
    closes_badly = (quote & ~within)[:-1] & ~edge[1:]
    return not (within[-1] or opens_badly.any() or closes_badly.any())


def read_regular(content: bytes, found: Records, file: str, separator: str, header: Sequence[str]) -> RawTable:
    """By Polars, after the records that it would mend in silence are taken out."""
    starts, ends, lines, bad, quoted = found
    pieces, begin, rejected = [], starts[0] if len(starts) else len(content), []
    record = np.ones(len(starts), dtype=bool)  # [n] a blank line is none
    for number in np.flatnonzero(bad):
        pieces.append(content[begin : starts[number]])
        begin = ends[number]
        text = content[starts[number] : begin].rstrip(b"\r\n")
        record[number] = bool(text)
        if text:
            fields = next(records(text, separator, quoted))
            problem = judge(fields, len(header), text.count(b"\n"))
            rejected.append((file, int(lines[number]), problem, readable(separator.join(fields))))
    good = b"".join([*pieces, content[begin:]])
    frame = to_frame([], list(header)) if bad.all() else read_rectangle(good, separator, header, quoted)
    row = (np.cumsum(record, dtype=np.uint32) - 1)[~bad]
    return RawTable(
        file=file,
        frame=frame.with_columns(pl.Series(ROW, row, pl.UInt32), pl.Series(LINE, lines[~bad])),
        num_records=int(record.sum()),
        rejected=pl.DataFrame(rejected, schema=REJECTED_SCHEMA, orient="row"),
    )


def read_rectangle(content: bytes, separator: str, header: Sequence[str], quoted: bool) -> pl.DataFrame:
    frame = pl.read_csv(
        content,
        has_header=False,
        new_columns=list(header),
        separator=separator,
        quote_char='"' if quoted else None,
        infer_schema=False,
    )
    return frame.with_columns(empty_to_null()) if quoted else frame  # Polars takes "" for an empty text


def read_irregular(
    content: bytes, file: str, separator: str, header: Sequence[str], first: int, quoted: bool
) -> RawTable:
    """Record by record, by the csv module: quotes within fields, and whatever else programs write."""
    names = [*header, ROW, LINE]
    frames, rejected = [to_frame([], names)], []
    rows: list[list[Any]] = []
    reader = records(content, separator, quoted)
    for _ in range(first - 1):
        next(reader)
    num_records, line = 0, reader.line_num + 1
    try:
        for fields in reader:
            if fields:  # a blank line is no record
                problem = judge(fields, len(header), reader.line_num - line)
                if problem is None:
                    rows.append([*fields, num_records, line])
                else:
                    rejected.append((file, line, problem, readable(separator.join(fields))))
                num_records += 1
            if len(rows) == CHUNK:
                frames.append(to_frame(rows, names))
                rows = []
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{file}, line {line}: {error}; is a quote opened here and never closed?") from error
    frames.append(to_frame(rows, names))
    return RawTable(
        file=file,
        frame=pl.concat(frames),
        num_records=num_records,
        rejected=pl.DataFrame(rejected, schema=REJECTED_SCHEMA, orient="row"),
    )


def to_frame(rows: list[list[Any]], names: list[str]) -> pl.DataFrame:
    columns = zip(*rows) if rows else ([] for _ in names)
    types = {ROW: pl.UInt32, LINE: pl.UInt32}
    frame = pl.DataFrame([pl.Series(name, column, types.get(name, pl.String)) for name, column in zip(names, columns)])
    return frame.with_columns(empty_to_null())


def empty_to_null() -> pl.Expr:
    return pl.when(pl.col(pl.String) != "").then(pl.col(pl.String))


def judge(fields: list[str], num_columns: int, more_lines: int) -> str | None:
    """What is wrong with a record, or None."""
    if len(fields) != num_columns:
        spread = f" over {more_lines + 1} lines (a quote that is not closed?)" if more_lines else ""
        return f"{count(len(fields), 'field')}{spread} where the header has {num_columns}"
    return None if is_utf8(fields) else "not UTF-8"


def all_utf8(content: bytes) -> bool:
    """In pieces, so that the text of a large file need not stand in memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(content), PIECE):
            decoder.decode(content[start : start + PIECE], final=start + PIECE >= len(content))
    except UnicodeDecodeError:
        return False
    return True


def decoded(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    return text[:200].encode("utf-8", "surrogateescape").decode("utf-8", "replace")
