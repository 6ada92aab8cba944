"""Feedback: interactions that are told to the service. What is acknowledged is on disk, and counts at once."""

import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnnrec.datasets.feedback import alone, open_shared, read_events, rewrite_events
from gnnrec.errors import UserError
from gnnrec.files import sync_folder
from gnnrec.sealed_log import SealedLog
from gnnrec.vault import is_encrypted

Event = dict[str, Any]
"""user, item, timestamp and maybe rating, as in datasets/feedback.py."""
Taken = tuple[str, float | None]
"""An item and its rating, if there is one."""


class FeedbackLog:
    """A file that is appended to, encrypted where it has keys, and what it says of each user."""

    def __init__(self, path: Path) -> None:
        """Raises UserError where it cannot be written."""
        self._path = path
        self._file = open_log(path)
        self._writing = threading.Lock()
        self._read()

    def _read(self) -> None:
        events, told = read_events(self._path), defaultdict[str, list[Taken]](list)
        for event in events:
            told[event["user"]].append(_taken(event))
        self._told, self.num_events = told, len(events)  # whole, whoever reads meanwhile

    def forget_before(self, moment: int) -> int:
        """Drop events older than `moment`, from the file too; how many. None go while another service has the log.

        Not while `remember` runs.
        """
        with self._writing:
            with alone(self._file.descriptor) as nobody_else:
                gone = rewrite_events(self._path, lambda event: event["timestamp"] >= moment) if nobody_else else 0
            if gone:
                self._file.close()
                self._file = open_log(self._path)
                self._read()
        return gone

    def append(self, events: Sequence[Event]) -> None:
        """Returns once they are on the disk: one fsync, however many there are. Raises OSError where it cannot be."""
        lines = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()
        with self._writing:
            self._file.append(lines)

    def remember(self, events: Sequence[Event]) -> None:
        """Let them count from now on."""
        for event in events:
            self._told[event["user"]].append(_taken(event))
        self.num_events += len(events)

    def told_by(self, user: str) -> Sequence[Taken]:
        """What a user took, in the order in which it was told."""
        return self._told.get(user, ())

    def close(self) -> None:
        with self._writing:
            self._file.close()


def _taken(event: Event) -> Taken:
    return sys.intern(event["item"]), event.get("rating")  # many events have one item: one string for all


def open_log(path: Path) -> "SealedLog | PlainLog":
    return SealedLog(path) if is_encrypted(path) else PlainLog(path)


class PlainLog:
    """The file itself, as lines."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.descriptor = open_shared(path)
            sync_folder(path.parent)  # a file that was just made is there after a power loss, too
            size = os.fstat(self.descriptor).st_size
            # Whether the last line was cut off, by a crash or a full disk: what follows begins a line of its own.
            self._torn = size > 0 and os.pread(self.descriptor, 1, size - 1) != b"\n"
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error

    def append(self, lines: bytes) -> None:
        lines = b"\n" * self._torn + lines
        self._torn = True
        while lines:
            lines = lines[os.write(self.descriptor, lines) :]
        self._torn = False
        os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)
