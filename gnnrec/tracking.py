"""The training log of a run: log.jsonl, one row per epoch, and the same scalars for TensorBoard."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.untrusted import refusing
from gnnrec.vault import is_encrypted, read_text, write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Called with all rows so far after each epoch; the JSONL file always holds exactly those, also after a resume.
    TensorBoard cannot read encrypted files, so that an encrypted folder has none of it.

    `then` is called with the same rows when they are written.
    """

    def __init__(self, folder: Path, then: Callable[[list[dict[str, float]]], None] = lambda history: None) -> None:
        self.folder = folder
        self.then = then
        self.writer: SummaryWriter | None = None

    def __call__(self, history: list[dict[str, float]]) -> None:
        write_text(self.folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        if not is_encrypted(self.folder):
            self._draw(history[-1])
        self.then(history)

    def _draw(self, row: dict[str, float]) -> None:
        if self.writer is None:
            self.writer = writer_from(self.folder / "tensorboard", int(row["epoch"]))
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def writer_from(folder: Path, epoch: int) -> "SummaryWriter":
    """A writer that goes on at `epoch`: what an interrupted training wrote from there on is hidden, not drawn twice."""
    from torch.utils.tensorboard import SummaryWriter  # takes a second to import

    return SummaryWriter(str(folder), purge_step=epoch)


def read_log(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log; empty for a model that needs no epochs."""
    path = folder / "log.jsonl"
    if not path.exists():
        return []
    with refusing(path):
        return [_row(json.loads(line)) for line in read_text(path).splitlines()]


def _row(found: Any) -> dict[str, float]:
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        raise ValueError(f"found {str(found)[:40]!r}; expected an object of numbers")
    return found
