"""Arrays in files that are written as memory."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.files import writing


def new_mapped(path: Path, kind: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """A new file of this shape, memory-mapped for writing, that has all its room on the disk.

    A page of a mapped file that finds no room later would end the process (SIGBUS). Raises UserError for a full disk.
    """
    with writing(path):
        made = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made
