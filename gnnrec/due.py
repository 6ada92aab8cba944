"""Users whom a run is due to forget: RUN/due.json, by which commands and services refuse them at once.

Ids stand there as keyed hashes, each with a key of its own. Who has the run can try ids on them, as on the run itself,
which holds these users until `gnnrec forget` has trained it anew. What that keeps for a call that is stopped goes with
the entry (privacy/pending.py).
"""

import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.vault import read_text, write_json

FILE = "due.json"


@dataclass(frozen=True, slots=True)
class Entry:
    key: str  # hexadecimal
    digest: str  # HMAC-SHA256 of the id
    since: str  # ISO 8601, UTC
    begun: dict[str, Any] | None = field(default=None, compare=False)  # the same user, begun or not

    @classmethod
    def of(cls, user: str) -> "Entry":
        key = secrets.token_hex(16)
        return cls(key, _digest(key, user), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))

    def matches(self, user: str) -> bool:
        return hmac.compare_digest(self.digest, _digest(self.key, user))


def _digest(key: str, user: str) -> str:
    return hmac.digest(bytes.fromhex(key), user.encode(), "sha256").hex()


def read_due(folder: Path) -> tuple[Entry, ...]:
    """Those of a run, the oldest first. Raises UserError for a file that is not one of `mark_due`."""
    path = folder / FILE
    try:
        return tuple(Entry(**row) for row in json.loads(read_text(path))["due"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: {error}") from error


def mark_due(folder: Path, user: str) -> None:
    """From now on the user is refused, also by services that run."""
    known = read_due(folder)
    if not any(entry.matches(user) for entry in known):
        write_json(folder / FILE, {"due": [asdict(entry) for entry in (*known, Entry.of(user))]})


class Refused:
    """Whom a service refuses: the users who are due, or were since it began, read again where the file has changed."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE  # made once: it is looked at for each request
        self._seen: object = None
        self._entries: tuple[Entry, ...] = ()

    def __contains__(self, user: str) -> bool:
        return any(entry.matches(user) for entry in self._now())

    def __len__(self) -> int:
        return len(self._now())

    def _now(self) -> tuple[Entry, ...]:
        try:
            state = self._path.stat()
        except OSError:  # nobody is due; a run that has forgotten somebody has no such file either
            pass
        else:
            if (seen := (state.st_mtime_ns, state.st_ino)) != self._seen:
                self._entries = tuple(dict.fromkeys((*self._entries, *read_due(self._folder))))
                self._seen = seen
        return self._entries
