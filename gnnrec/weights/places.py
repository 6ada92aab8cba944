"""Where the rows of tables lie in memory, in blocks over the workers, and how they come into files and back.

A checkpoint is one file for each part of each worker's rows, under a number of its own; the checkpoint's main file is
written last and names the number, so that a killed training finds all of the old ones or all of the new ones. Rows are
read by their place in the table, by any number of workers.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gnnrec.checkpoint import TrainState
from gnnrec.errors import UserError
from gnnrec.files import writing
from gnnrec.tensor_files import open_tensors, save_tensors
from gnnrec.untrusted import refusing
from gnnrec.vault import encrypt_folder, is_encrypted
from gnnrec.weights.shards import block_of, blocks
from gnnrec.workers import Workers

Parts = dict[str, Tensor]
"""weight, exp_avg, exp_avg_sq and average [n, d], averaged_at [n]: the rows of a table that are here."""

BEST, ROWS = "best", "rows"
DAMAGED = "does not belong to the checkpoint; delete checkpoint.safetensors beside it to begin again"
SHARD = re.compile(r"(?P<saves>\d+)\.(?P<rank>\d+)-of-(?P<size>\d+)\.(?P<part>\w+\.\w+)\.safetensors")


class Place(Protocol):
    """What keeps the tables of a training."""

    workers: Workers

    def held(self, table: str, part: str, like: Tensor, content: Tensor | None = None) -> Tensor:
        """A part of the shape and type of another tensor, of zeros or with some content; where a training goes on and
        has it still, as it is."""

    def scratch(self, like: Tensor) -> Tensor:
        """Room for a table that goes as it came."""

    def about_to_change(self, tables: Mapping[str, Parts], rows: Mapping[str, Tensor]) -> None:
        """These rows of all parts are about to be written to."""

    def kept(self, table: str, rows: Tensor, epoch: int) -> Tensor:
        """A copy of the rows, as the best ones, of that epoch."""

    def save(self, saves: int, tables: Mapping[str, Parts], best: Mapping[str, Tensor]) -> None:
        """Bring everything to the disk, beside what is there; the checkpoint's main file will name the number."""

    def saved(self, state: TrainState, tables: Mapping[str, Parts]) -> None:
        """The main file is there."""

    def resume(self, state: TrainState, tables: Mapping[str, Parts], num_rows: Mapping[str, int]) -> Parts:
        """Fill the parts as they were in that state; returns the best rows. Of a finished training only those count."""


class Blocks:
    """In memory: this worker's block of every table."""

    def __init__(self, workers: Workers, folder: Path | None) -> None:
        """folder: of the checkpoint's files; None where there is no checkpoint."""
        self.workers, self.folder = workers, folder

    def held(self, table: str, part: str, like: Tensor, content: Tensor | None = None) -> Tensor:
        return torch.zeros_like(like) if content is None else content.clone()

    def scratch(self, like: Tensor) -> Tensor:
        return torch.empty_like(like)

    def about_to_change(self, tables: Mapping[str, Parts], rows: Mapping[str, Tensor]) -> None:
        pass

    def kept(self, table: str, rows: Tensor, epoch: int) -> Tensor:
        return rows.clone()

    def save(self, saves: int, tables: Mapping[str, Parts], best: Mapping[str, Tensor]) -> None:
        if self.folder is None:
            return
        if self.workers.first:
            with writing(self.folder):
                self.folder.mkdir(exist_ok=True)
                if is_encrypted(self.folder.parent):
                    encrypt_folder(self.folder)
                self._remove(lambda number: number == saves)  # of a save that was killed
        self.workers.wait()
        found = {(name, part): rows for name, parts in tables.items() for part, rows in parts.items()}
        found |= {(name, BEST): rows for name, rows in best.items()}
        for (name, part), rows in found.items():
            file = f"{saves}.{self.workers.rank}-of-{self.workers.size}.{name}.{part}.safetensors"
            save_tensors(self.folder / file, {ROWS: rows})
        self.workers.wait()

    def saved(self, state: TrainState, tables: Mapping[str, Parts]) -> None:
        if self.folder is not None and self.workers.first:
            with writing(self.folder):
                self._remove(lambda number: number != state.saves)

    def resume(self, state: TrainState, tables: Mapping[str, Parts], num_rows: Mapping[str, int]) -> Parts:
        assert self.folder is not None
        size = self._size(state.saves)
        best = {}
        for name, parts in tables.items():
            for part, rows in () if state.finished else parts.items():
                self._read(state.saves, size, f"{name}.{part}", rows, num_rows[name])
            if (self.folder / f"{state.saves}.0-of-{size}.{name}.{BEST}.safetensors").exists():
                best[name] = torch.empty_like(parts["weight"])
                self._read(state.saves, size, f"{name}.{BEST}", best[name], num_rows[name])
        return best

    def _remove(self, which: Callable[[int], bool]) -> None:
        assert self.folder is not None
        for path in self.folder.iterdir():
            found = SHARD.fullmatch(path.name)
            if found is not None and which(int(found["saves"])):
                path.unlink()

    def _size(self, saves: int) -> int:
        """Of how many workers the files are. Raises UserError where there are none."""
        assert self.folder is not None
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        for found in map(SHARD.fullmatch, names):
            if found is not None and int(found["saves"]) == saves:
                return int(found["size"])
        raise UserError(f"{self.folder}: {DAMAGED}")

    def _read(self, saves: int, size: int, part: str, rows: Tensor, num_rows: int) -> None:
        assert self.folder is not None
        mine = block_of(num_rows, self.workers)
        for rank, block in enumerate(blocks(num_rows, size)):
            low, high = max(block.start, mine.start), min(block.stop, mine.stop)
            if low >= high:
                continue
            path = self.folder / f"{saves}.{rank}-of-{size}.{part}.safetensors"
            with refusing(path, DAMAGED), open_tensors(path, "pt") as file:
                there = slice(low - block.start, high - block.start)
                rows[low - mine.start : high - mine.start] = file.get_slice(ROWS)[there]
