"""An undo log: rows of tables as they were at the last checkpoint, written before they change for the first time.

    record    length [8 bytes], CRC-32 [4 bytes], then a safetensors file of TABLE/rows [r] and TABLE/PART [r, d]

A record is on the disk before any of its rows is written to. What a crash cut off at the end is therefore of rows that
did not change. Taking back is done from the first record on, as often as it takes.
"""

import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from gnnrec.files import writing
from gnnrec.untrusted import refusing
from gnnrec.weights.places import DAMAGED, Parts

FRAME = struct.Struct(">QI")
ROWS = "rows"


class UndoLog:
    """Of one checkpoint; what is in the file already belongs to it."""

    def __init__(self, path: Path, tables: Mapping[str, Parts]) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.known = {name: torch.zeros(len(parts["weight"]), dtype=torch.bool) for name, parts in tables.items()}

    def keep(self, tables: Mapping[str, Parts], rows: Mapping[str, Tensor]) -> None:
        """Those of the rows that are not in it yet. Raises UserError where the disk is full."""
        record: dict[str, Tensor] = {}
        for name, touched in rows.items():
            new = touched[~self.known[name][touched]]
            if len(new):
                record |= {f"{name}/{ROWS}": new}
                record |= {f"{name}/{part}": values[new] for part, values in tables[name].items()}
        if not record:
            return
        content = save(record)
        with writing(self.path):
            left = memoryview(FRAME.pack(len(content), zlib.crc32(content)) + content)
            while left:
                left = left[os.write(self.descriptor, left) :]
            os.fdatasync(self.descriptor)
        for name, touched in rows.items():
            self.known[name][touched] = True

    def take_back(self, tables: Mapping[str, Parts]) -> None:
        """Write the old rows over what is in the tables; the log stays and goes on."""
        end = 0
        with refusing(self.path, DAMAGED), self.path.open("rb") as file:
            while len(frame := file.read(FRAME.size)) == FRAME.size:
                length, checksum = FRAME.unpack(frame)
                if len(content := file.read(length)) < length or zlib.crc32(content) != checksum:
                    break
                record = load(content)
                for name in tables:
                    if (rows := record.get(f"{name}/{ROWS}")) is None:
                        continue
                    for part, values in tables[name].items():
                        values[rows] = record[f"{name}/{part}"]
                    self.known[name][rows] = True
                end = file.tell()
        os.ftruncate(self.descriptor, end)
        os.lseek(self.descriptor, end, os.SEEK_SET)

    def close(self) -> None:
        os.close(self.descriptor)
