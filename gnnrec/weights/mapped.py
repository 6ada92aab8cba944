"""Tables in files that are mapped into memory: what no step touches need not be there (out of core).

The system holds as many pages as there is room for and writes changed ones back by itself, so that after a crash the
files are of some moment in the middle. An undo log (undo.py) makes them those of the last checkpoint again. A
checkpoint costs what was changed since the last one; nothing is copied but the best weights.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from gnnrec.checkpoint import TrainState
from gnnrec.errors import UserError
from gnnrec.files import sync_file, sync_folder, writing
from gnnrec.models.base import Draw
from gnnrec.scratch import nameless
from gnnrec.weights.places import BEST, DAMAGED, Parts
from gnnrec.weights.undo import UndoLog
from gnnrec.workers import Workers

UNDO = "undo"


def draw_into_file(folder: Path | None) -> Draw:
    """Draws a table into a file without a name, which is gone with it. folder: where; None: that of scratch files."""

    def draw(shape: tuple[int, int], generator: Generator) -> Tensor:
        return torch.randn(shape, generator=generator, out=torch.from_numpy(nameless(shape, np.float32, folder)))

    return draw


class Files:
    """One file for each part of each table, TABLE.PART, of numbers as they are in memory. See places.Place."""

    workers = Workers()

    def __init__(self, folder: Path | None, fresh: bool) -> None:
        """folder: beside the checkpoint. None where there is no checkpoint: then the files have no names.
        fresh: whether a training begins; else it goes on with what is in the folder."""
        self.folder, self.fresh = folder, fresh
        self.undo: UndoLog | None = None  # none before there is a checkpoint to go back to
        if folder is not None and fresh:
            shutil.rmtree(folder, ignore_errors=True)
            with writing(folder):
                folder.mkdir(parents=True)

    def held(self, table: str, part: str, like: Tensor, content: Tensor | None = None) -> Tensor:
        if self.folder is not None and not self.fresh:
            return _opened(self.folder / f"{table}.{part}", like)
        made = self.scratch(like) if self.folder is None else _made(self.folder / f"{table}.{part}", like)
        return made if content is None else made.copy_(content)

    def scratch(self, like: Tensor) -> Tensor:
        kind = torch.empty(0, dtype=like.dtype).numpy().dtype
        return torch.from_numpy(nameless(tuple(like.shape), kind, self.folder))

    def about_to_change(self, tables: Mapping[str, Parts], rows: Mapping[str, Tensor]) -> None:
        if self.undo is not None:
            self.undo.keep(tables, rows)

    def kept(self, table: str, rows: Tensor, epoch: int) -> Tensor:
        if self.folder is None:
            return self.scratch(rows).copy_(rows)
        path = self.folder / f"{table}.{BEST}-{epoch}"
        path.unlink(missing_ok=True)
        return _made(path, rows).copy_(rows)

    def save(self, saves: int, tables: Mapping[str, Parts], best: Mapping[str, Tensor]) -> None:
        if self.folder is None:
            return
        with writing(self.folder):
            for path in self.folder.iterdir():
                if not path.name.startswith(UNDO):
                    sync_file(path)
            sync_folder(self.folder)

    def saved(self, state: TrainState, tables: Mapping[str, Parts]) -> None:
        if self.folder is None:
            return
        with writing(self.folder):
            self._begin_log(state, tables)
            for path in self.folder.iterdir():
                name = path.name
                old = f".{BEST}-" in name and not name.endswith(f".{BEST}-{state.best_epoch}")
                if old or (name.startswith(UNDO) and name != f"{UNDO}-{state.saves}"):
                    path.unlink()

    def resume(self, state: TrainState, tables: Mapping[str, Parts], num_rows: Mapping[str, int]) -> Parts:
        assert self.folder is not None
        self._begin_log(state, tables)
        assert self.undo is not None
        self.undo.take_back(tables)
        best = {table: self.folder / f"{table}.{BEST}-{state.best_epoch}" for table in tables}
        return {table: _opened(path, tables[table]["weight"]) for table, path in best.items() if path.exists()}

    def _begin_log(self, state: TrainState, tables: Mapping[str, Parts]) -> None:
        assert self.folder is not None
        if self.undo is not None:
            self.undo.close()
        self.undo = UndoLog(self.folder / f"{UNDO}-{state.saves}", tables)
        sync_folder(self.folder)


def _made(path: Path, like: Tensor) -> Tensor:
    """A new file of zeros. Raises UserError where there is no room for it: later that would end the process."""
    with writing(path), path.open("xb") as file:
        os.posix_fallocate(file.fileno(), 0, like.numel() * like.element_size())
    return _mapped(str(path), tuple(like.shape), like.dtype)


def _opened(path: Path, like: Tensor) -> Tensor:
    if not path.is_file() or path.stat().st_size != like.numel() * like.element_size():
        raise UserError(f"{path}: {DAMAGED}")
    return _mapped(str(path), tuple(like.shape), like.dtype)


def _mapped(path: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.from_file(path, shared=True, size=torch.Size(shape).numel(), dtype=dtype).view(shape)
