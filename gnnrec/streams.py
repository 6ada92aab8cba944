"""Arrays that are written a block of rows at a time, so that nothing but a block of them has to be in memory."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.scratch import blocks, row_blocks

IDS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Stream:
    """An array by its blocks of rows, made anew whenever it is written."""

    kind: np.dtype[Any]
    shape: tuple[int, ...]
    parts: Callable[[], Iterator[NDArray[Any]]]

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.kind.itemsize

    def write(self, file: IO[bytes]) -> None:
        for part in self.parts():
            file.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)


def streamed(array: NDArray[Any]) -> Stream:
    """An array that may be a memory map."""
    rows = array if array.ndim else array.reshape(1)
    return Stream(array.dtype, array.shape, lambda: (rows[block] for block in blocks(rows)))


def mapped(array: NDArray[Any], kind: Any, shape: tuple[int, ...], change: Callable[[Any], NDArray[Any]]) -> Stream:
    """What `change` makes of every block of rows of an array."""
    return Stream(np.dtype(kind), shape, lambda: (change(array[block]) for block in blocks(array)))


def write_npy(file: IO[bytes], stream: Stream) -> None:
    """The file that `np.save` writes."""
    header = {"descr": np.lib.format.dtype_to_descr(stream.kind), "fortran_order": False, "shape": stream.shape}
    np.lib.format.write_array_header_1_0(file, header)
    stream.write(file)


def write_list(file: IO[bytes], texts: Sequence[str]) -> None:
    """The JSON that `json.dumps` makes of a list of texts, in UTF-8."""
    for part in list_parts(texts):
        file.write(part)


def list_parts(texts: Sequence[str]) -> Iterator[bytes]:
    yield b"["
    for rows in row_blocks(len(texts), IDS_AT_ONCE):
        text = json.dumps(list(texts[rows]), ensure_ascii=False)[1:-1]
        yield f"{', ' if rows.start else ''}{text}".encode()
    yield b"]"
