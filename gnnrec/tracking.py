"""The training log of a run: log.jsonl, one row per epoch, and the same scalars for TensorBoard."""

import json
from pathlib import Path

from gnnrec.files import write_text


class Tracker:
    """Called with all rows so far after each epoch; the JSONL file always holds exactly those, also after a resume."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self.path = folder / "log.jsonl"
        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def __call__(self, history: list[dict[str, float]]) -> None:
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in history))
        row = history[-1]
        for name, value in row.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        self.writer.close()


def read_log(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's log; empty for a model that needs no epochs."""
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
