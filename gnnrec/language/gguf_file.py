"""A GGUF file as somebody else may have written it: its settings and tensors, and nothing of it believed unseen.

All lengths are held against the length of the file before anything is read or made, so that neither a damaged nor a
hostile file takes more memory or time than its own bytes are worth.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import torch
from torch import Tensor

from gnnrec.errors import UserError, missing_extra
from gnnrec.untrusted import refusing

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9  # the other types of a setting
VERSIONS = (2, 3)
# Far above what models have: a quarter of a million words, half a million merges, a thousand tensors.
MOST_VALUES, MOST_ENTRIES, MOST_DIMENSIONS = 2**21, 2**16, 4
LONGEST_TEXT, LONGEST_WORD = 2**20, 2**10  # bytes of a setting, and of one word of a list


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor where it lies: type of the format, shape as torch has it, first byte, and how many."""

    kind: int
    shape: tuple[int, ...]
    begin: int
    size: int


class GgufFile:
    """`settings` by their keys, `tensors` by their names in the file. Raises UserError for what is no whole file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with refusing(path, "damaged, or no GGUF file"), path.open("rb") as file:
            self.settings, self.tensors = _Header(file, path.stat().st_size).read()

    def tensor(self, name: str) -> Tensor:
        """Its numbers, unpacked. float32"""
        from gguf import GGMLQuantizationType, dequantize

        stored = self.tensors[name]
        kind = GGMLQuantizationType(stored.kind)
        with refusing(self.path, f"tensor {name}"):
            content = np.fromfile(self.path, np.uint8, stored.size, offset=stored.begin)
            with np.errstate(all="ignore"):  # scales of broken blocks; what comes of them is looked at
                values = dequantize(content.reshape(*stored.shape[:-1], -1), kind)
            made = torch.from_numpy(values).reshape(stored.shape)
        if not made.isfinite().all():
            raise UserError(f"{self.path}: damaged: tensor {name} holds what is no number")
        return made


class _Header:
    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left, self._size = file, size, size

    def read(self) -> tuple[dict[str, Any], dict[str, Stored]]:
        if self._take(4) != b"GGUF":
            self._refuse("it does not begin with GGUF")
        version = self._number("I")
        if version not in VERSIONS:
            self._refuse(f"version {version}; allowed: {', '.join(map(str, VERSIONS))}")
        num_tensors, num_settings = self._number("Q"), self._number("Q")
        if max(num_tensors, num_settings) > MOST_ENTRIES:
            self._refuse(f"{num_tensors} tensors and {num_settings} settings; allowed: {MOST_ENTRIES}")
        settings: dict[str, Any] = {}
        for _ in range(num_settings):
            key = self._text(LONGEST_WORD)
            if key in settings:
                self._refuse(f"{key} stands there twice")
            settings[key] = self._value(self._number("I"))
        listed = [self._tensor() for _ in range(num_tensors)]
        return settings, self._placed(listed, settings.get("general.alignment", 32))

    def _tensor(self) -> tuple[str, int, tuple[int, ...], int]:
        name, num_dimensions = self._text(LONGEST_WORD), self._number("I")
        if not 1 <= num_dimensions <= MOST_DIMENSIONS:
            self._refuse(f"{num_dimensions} dimensions of tensor {name}; allowed: 1 to {MOST_DIMENSIONS}")
        shape = tuple(self._number("Q") for _ in range(num_dimensions))[::-1]  # theirs begin with the fastest
        return name, self._number("I"), shape, self._number("Q")

    def _placed(self, listed: list[tuple[str, int, tuple[int, ...], int]], alignment: int) -> dict[str, Stored]:
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            self._refuse(f"general.alignment is {alignment!r}; allowed: a power of 2")
        start = self._size - self._left
        start += -start % alignment
        tensors: dict[str, Stored] = {}
        end = start
        for name, kind, shape, offset in sorted(listed, key=lambda row: row[3]):
            stored = Stored(kind, shape, start + offset, self._num_bytes(name, kind, shape))
            if name in tensors or stored.begin < end:
                self._refuse(f"tensor {name} stands there twice, or in another one")
            end = stored.begin + stored.size
            tensors[name] = stored
        if end > self._size:
            self._refuse(f"it has {self._size} bytes, and its tensors would need {end}")
        return tensors

    def _num_bytes(self, name: str, kind: int, shape: tuple[int, ...]) -> int:
        try:
            from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        except ImportError as error:
            raise missing_extra("llm", "gguf") from error
        in_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        if min(shape) < 1 or shape[-1] % in_block:
            self._refuse(f"tensor {name} has the shape {list(shape)}; its type comes in blocks of {in_block}")
        return prod(shape) // in_block * block_bytes

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._text(LONGEST_TEXT)
        if kind != ARRAY:
            return self._number(self._code(kind))
        kind, count = self._number("I"), self._number("Q")
        if count > MOST_VALUES:
            self._refuse(f"a list of {count} values; allowed: {MOST_VALUES}")
        if kind == STRING:
            return [self._text(LONGEST_WORD) for _ in range(count)]
        code = self._code(kind)
        return list(struct.unpack(f"<{count}{code}", self._take(count * struct.calcsize(f"<{code}"))))

    def _code(self, kind: int) -> str:
        if kind not in SCALARS:
            self._refuse(f"a setting of type {kind}; allowed: {STRING}, {ARRAY} and {', '.join(map(str, SCALARS))}")
        return SCALARS[kind]

    def _text(self, longest: int) -> str:
        length = self._number("Q")
        if length > longest:
            self._refuse(f"a text of {length} bytes; allowed: {longest}")
        return self._take(length).decode()

    def _number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))[0]

    def _take(self, num_bytes: int) -> bytes:
        if num_bytes > self._left:
            self._refuse(f"it ends after {self._size} bytes, before its list of tensors does")
        self._left -= num_bytes
        return self._file.read(num_bytes)

    def _refuse(self, why: str) -> NoReturn:
        raise ValueError(why)
