"""The feedback log: interactions that a service was told of, one JSON object a line, appended to; lines leave it only
where somebody is forgotten or a limit of time has passed (`rewrite_events`).

    {"user": "1", "item": "318", "timestamp": 1790000000, "rating": 4.5}      rating where there is one

A line that was cut off when the machine went down was never acknowledged; it is left out. An encrypted log has batches
of such lines as its records, see sealed_log.py.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets.clean import SPLIT_WORDS, as_id
from gnnrec.datasets.raw import LINE, ROW, RawLog
from gnnrec.errors import UserError
from gnnrec.files import atomic_path
from gnnrec.sealed_log import locked, read_records, replace_records
from gnnrec.vault import is_encrypted, read_bytes

TRAIN = SPLIT_WORDS["train"]
PRIVATE = 0o600  # who may read and write the log: its owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """The first `num_events` of a feedback log: they stay what they are, however much is appended."""

    path: Path
    num_events: int


def open_feedback(path: Path) -> Feedback:
    """All that is in the log by now. Raises UserError where it cannot be read."""
    return Feedback(path=path.resolve(), num_events=len(read_events(path)))


@contextmanager
def alone(descriptor: int) -> Iterator[bool]:
    """Whether nobody else holds the open log, who would go on to write into a file that is no longer there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def open_shared(path: Path) -> int:
    """A descriptor to append to the log, which is made where it is not there; `alone` is nobody's while it is open."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, PRIVATE)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH110, PTH116
            return descriptor
        os.close(descriptor)  # rewritten while this waited


def rewrite_events(path: Path, keep: Callable[[dict[str, Any]], bool]) -> int:
    """Write the log anew with the events that are kept, whole or not at all; returns how many went.

    The caller has to be `alone`. What could not be read goes too. Nothing is written where nothing went.
    """
    lines = [line for line in _content(path).splitlines() if line.strip()]
    kept = [line + b"\n" for line in lines if (event := _event(line)) is not None and keep(event)]
    if len(kept) == len(lines):
        return 0
    if is_encrypted(path):
        replace_records(path, [b"".join(kept)] if kept else [])
    else:
        with atomic_path(path, PRIVATE) as temporary:
            temporary.write_bytes(b"".join(kept))
    return len(lines) - len(kept)


def forget_events(path: Path, user: str) -> int:
    """Take the events of a user out of the log; returns how many. Raises UserError while a service has it open."""
    with held(path):
        return rewrite_events(path, lambda event: bool(event["user"] != user))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else has the log meanwhile. Raises UserError where a service has."""
    if is_encrypted(path):
        with locked(path):
            yield
        return
    descriptor = open_shared(path)
    try:
        with alone(descriptor) as nobody_else:
            if not nobody_else:
                raise UserError(f"{path}: a service has it open; stop it first, or --later marks the user at once")
            yield
    finally:
        os.close(descriptor)


def read_events(path: Path) -> list[dict[str, Any]]:
    """The whole lines of the log, in order. Raises UserError where it cannot be read."""
    try:
        lines = _content(path).splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    found = [_event(line) for line in lines]
    return [event for event in found if event is not None]


def _content(path: Path) -> bytes:
    return b"".join(read_records(path)) if is_encrypted(path) else read_bytes(path)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    good = isinstance(event, dict) and all(isinstance(event.get(key), str) for key in ("user", "item"))
    return event if good and isinstance(event.get("timestamp"), int) else None


def with_feedback(log: RawLog, feedback: Feedback) -> RawLog:
    """The log of a dataset with the events as further rows, which every later step takes as it takes the others.

    An event without rating, in a log of ratings, is a row without one, which counts as liked whatever min_rating says.
    Where the log has a published split, events are train rows.
    """
    events = read_events(feedback.path)[: feedback.num_events]
    if len(events) < feedback.num_events:
        raise UserError(
            f"{feedback.path}: {len(events):,} events, there were {feedback.num_events:,} before; of who was forgotten "
            "by another run: gnnrec forget; else train anew"
        )
    # Ids as text, whatever type the file has: the service may have been told of others than those there.
    frame = log.table.frame.with_columns(as_id(log.table, name).alias(name) for name in (log.user, log.item))
    values: dict[str, list[Any]] = {
        log.user: [event["user"] for event in events],
        log.item: [event["item"] for event in events],
    }
    if log.timestamp is not None:
        values[log.timestamp] = [event["timestamp"] for event in events]
    if log.rating is not None:
        values[log.rating] = [event.get("rating") for event in events]
    if log.split is not None:
        values[log.split] = ["train" if frame.schema[log.split] == pl.String else TRAIN] * len(events)
    # Lines of another file: messages name those of the log, so these have none.
    columns = [_column(name, kind, values.get(name), len(events)) for name, kind in frame.schema.items()]
    grown = pl.concat([frame, pl.DataFrame(columns)], how="vertical_relaxed")
    num_records = log.table.num_records + len(events)
    return replace(log, table=replace(log.table, frame=grown, num_records=num_records))


def _column(name: str, kind: pl.DataType, values: list[Any] | None, size: int) -> pl.Series:
    if values is None or name in (LINE, ROW):
        return pl.Series(name, [None] * size, dtype=kind)
    column = pl.Series(name, values)
    if kind.is_temporal():
        return pl.from_epoch(column, "s").cast(kind)
    return column.cast(kind) if kind == pl.String else column  # half a star more than a column of whole ones holds
