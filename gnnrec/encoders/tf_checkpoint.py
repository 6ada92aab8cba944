"""Reads a TensorFlow checkpoint ("tensor bundle") without TensorFlow.

An `.index` file is a LevelDB table of protocol buffers that say where in the `.data` file each tensor stands.
Format: tensorflow/core/util/tensor_bundle and leveldb/doc/table_format.md.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOOTER_BYTES = 48
FLOAT32 = 1  # of tensorflow's DataType


def read_checkpoint(folder: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 tensors of `.index` and `.data-00000-of-00001` in `folder`, by name."""
    index = (folder / ".index").read_bytes()
    data = (folder / ".data-00000-of-00001").read_bytes()
    tensors = {}
    for name, entry in _table(index):
        fields = _message(entry)
        if not name or fields.get(1) != [FLOAT32]:
            continue
        shape = [_message(size).get(1, [0])[0] for size in _message(fields[2][0]).get(2, [])]
        start, length = fields.get(4, [0])[0], fields[5][0]
        tensors[name.decode()] = np.frombuffer(data[start : start + length], "<f4").reshape(shape)
    return tensors


def _table(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of every row: the footer points at a block of pointers to the blocks of rows."""
    footer, position = index[-FOOTER_BYTES:], 0
    _, position = _varint(footer, position)  # the meta index, which is not needed
    _, position = _varint(footer, position)
    start, position = _varint(footer, position)
    size, position = _varint(footer, position)
    for _, pointer in _block(index, start, size):
        row_start, position = _varint(pointer, 0)
        row_size, position = _varint(pointer, position)
        yield from _block(index, row_start, row_size)


def _block(index: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys share a prefix with the one before; the block ends with its restart points, which are not needed."""
    if index[start + size] != 0:
        raise ValueError("a compressed block in a TensorFlow checkpoint")
    block = index[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _message(buffer: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer by number: integers, or bytes for everything with a length."""
    position, fields = 0, dict[int, list[Any]]()
    while position < len(buffer):
        tag, position = _varint(buffer, position)
        value: int | bytes
        if tag & 7 == 0:
            value, position = _varint(buffer, position)
        else:
            if tag & 7 == 2:
                length, position = _varint(buffer, position)
            else:
                length = {1: 8, 5: 4}[tag & 7]
            value = buffer[position : position + length]
            position += length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
