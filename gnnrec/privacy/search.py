"""Whether an id still stands in files, whatever these are packed in.

A short id such as "1" stands everywhere by chance, so that it is looked for where ids of users stand: in their columns,
under their keys, in the lists of `gnnrec export`. One that nobody writes by chance is looked for everywhere as well, in
the decoded values of tables and byte by byte in everything else.
"""

import csv
import gzip
import io
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from safetensors import SafetensorError
from safetensors.numpy import load

from gnnrec.files import KEYS
from gnnrec.sealed_log import read_records
from gnnrec.vault import is_encrypted, read_bytes

LEAST = 6  # letters, not digits alone, from which on nobody writes an id by chance
COLUMNS = ("user", "user_id", "userId", "__id__")
OF_USERS = ("id", "__id__", "users.ids")  # in files that are named after users


@dataclass(frozen=True, slots=True)
class Needle:
    """An id, and the columns and keys that ids of users stand under."""

    id: str
    columns: frozenset[str] = frozenset(COLUMNS)

    @property
    def distinctive(self) -> bool:
        return len(self.id) >= LEAST and not self.id.isdigit()

    def in_bytes(self, content: bytes) -> bool:
        spelled = {self.id.encode(), json.dumps(self.id)[1:-1].encode()}
        return self.distinctive and any(one in content for one in spelled)

    def columns_of(self, path: Path) -> frozenset[str]:
        if path.name.startswith("users"):
            return self.columns | frozenset(OF_USERS)
        return self.columns - {"__id__"}  # of items


def files_below(places: Iterable[Path]) -> Iterator[Path]:
    """Every file, each once, of folders and files."""
    seen = set[Path]()
    for place in places:
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and (real := path.resolve()) not in seen:
                seen.add(real)
                yield path


def find_id(needle: Needle, places: Iterable[Path]) -> tuple[list[Path], int]:
    """The files that hold the id, their names included; and how many were looked at."""
    files = list(files_below(places))
    named = [path for path in files if needle.in_bytes(path.name.encode())]
    return sorted({*named, *(path for path in files if holds(needle, path))}), len(files)


def holds(needle: Needle, path: Path) -> bool:
    """Whether the file holds the id, decrypted where it is encrypted. What is not what its name says is looked through
    byte by byte."""
    content = _content(path)
    if path.suffix == ".parquet":
        try:
            return _in_table(needle, pl.read_parquet(io.BytesIO(content)), needle.columns_of(path))
        except pl.exceptions.PolarsError:
            pass
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    if needle.in_bytes(content):
        return True
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "tsv", "inter", "user"):
        return _in_text(needle.id, content, "," if kind == "csv" else "\t", needle.columns_of(path))
    if kind in ("json", "jsonl"):
        return any(_in_json(needle.id, value, needle.columns_of(path)) for value in _documents(content))
    return path.suffix == ".safetensors" and _in_tensors(needle.id, content)


def _in_table(needle: Needle, frame: pl.DataFrame, columns: Collection[str]) -> bool:
    for name, kind in frame.schema.items():
        text = frame[name].cast(pl.String) if not kind.is_nested() and kind != pl.Binary else None
        if text is None:
            continue
        if name in columns and (text == needle.id).any():
            return True
        if needle.distinctive and text.str.contains(needle.id, literal=True).any():
            return True
    return False


def _in_text(name: str, content: bytes, separator: str, columns: Collection[str]) -> bool:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=separator)
    header = [column.strip().partition(":")[0] for column in next(reader, [])]  # RecBole writes name:type
    places = [place for place, column in enumerate(header) if column in columns]
    return any(place < len(fields) and fields[place].strip() == name for fields in reader for place in places)


def _documents(content: bytes) -> Iterator[Any]:
    for part in ([content], content.splitlines()):
        try:
            yield from [json.loads(one) for one in part if one.strip()]
            return
        except ValueError:
            continue


def _in_json(name: str, value: Any, columns: Collection[str], under: bool = False) -> bool:
    """under: whether the value stands under a key that ids of users do; a file of their ids is one list of them."""
    if isinstance(value, dict):
        return any(_in_json(name, one, columns, key in columns) for key, one in value.items())
    if isinstance(value, list):
        return any(_in_json(name, one, columns, under or "users.ids" in columns) for one in value)
    return under and value == name


def _in_tensors(name: str, content: bytes) -> bool:
    try:
        tensors = load(content)
        return "users.ids" in tensors and name in json.loads(tensors["users.ids"].tobytes())
    except (SafetensorError, ValueError):
        return False


def _content(path: Path) -> bytes:
    if path.name == KEYS:
        return path.read_bytes()
    return b"".join(read_records(path)) if is_encrypted(path) else read_bytes(path)
