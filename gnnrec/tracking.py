"""The training log of a run: log.jsonl, one row per epoch, and the same scalars for TensorBoard."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gnnrec.files import writing
from gnnrec.untrusted import refusing
from gnnrec.vault import is_encrypted, read_text, write_text


class Tracker:
    """Called with all rows so far after each epoch; the JSONL file always holds exactly those, also after a resume.
    TensorBoard cannot read encrypted files, so that an encrypted folder has none of it.

    `then` is called with the same rows when they are written.
    """

    def __init__(self, folder: Path, then: Callable[[list[dict[str, float]]], None] = lambda history: None) -> None:
        self.folder = folder
        self.then = then
        self.events: Events | None = None

    def __call__(self, history: list[dict[str, float]]) -> None:
        write_text(self.folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in history))
        if not is_encrypted(self.folder):
            self._draw(history[-1])
        self.then(history)

    def _draw(self, row: dict[str, float]) -> None:
        if self.events is None:
            self.events = Events(self.folder / "tensorboard", int(row["epoch"]))
        self.events.add({name: value for name, value in row.items() if name != "epoch"}, int(row["epoch"]))

    def close(self) -> None:
        if self.events is not None:
            self.events.close()


class Events:
    """A file of events for TensorBoard that goes on at `epoch`: what an interrupted training wrote from there on is
    hidden, not drawn twice.

    Not torch's SummaryWriter, which writes in a thread of its own: where a disk is full, that thread prints a traceback
    and the training may wait for it. Raises UserError where it cannot be written.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._path = folder / f"events.out.tfevents.{int(time.time()):010d}.{platform.node()}.{os.getpid()}"
        with writing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self._path.open("ab"))
        self._add(Event(step=epoch, file_version="brain.Event:2"))
        self._add(Event(step=epoch, session_log=SessionLog(status=SessionLog.START)))

    def add(self, scalars: Mapping[str, float], epoch: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._add(Event(step=epoch, summary=Summary(value=values)))

    def _add(self, event: Any) -> None:
        event.wall_time = time.time()
        with writing(self._path):
            self._records.write(event.SerializeToString())
            self._records.flush()

    def close(self) -> None:
        with writing(self._path):
            self._records.close()


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
