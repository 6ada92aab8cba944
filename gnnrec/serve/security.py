"""Who may ask, and how often. Keys are drawn at random, shown once, and kept as hashes only."""

import hashlib
import json
import secrets
import stat
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.files import write_json

ROLES = ("client", "admin")  # an admin may change the run too
PREFIX = "gnnrec_"
MANY_CALLERS = 10_000  # whose rates are kept in mind


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    role: str


class Keys:
    """The keys of a file as it is now: whoever is taken out of it is not let in any more.

    A key has 256 random bits, so that its hash needs neither salt nor toil.
    """

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that is not one made by `add_key`."""
        self._path = path
        self._stamp = _stamp(path)  # before it is read: what is written meanwhile is read the next time
        self._callers: dict[str, Caller] | None = _read(path)  # by sha256; None while the file cannot be used
        self._said = ""  # why not

    def caller(self, key: str) -> Caller | None:
        """Whose key it is. Raises UserError while the file cannot be used, so that nobody is let in."""
        if (stamp := _stamp(self._path)) != self._stamp:
            self._stamp, self._callers = stamp, None
            try:
                self._callers = _read(self._path)
                self._said = ""
            except UserError as error:
                self._stamp = ()  # of no file: it may be mended without a change of it, as want of handles is
                if str(error) != self._said:  # once, not at each request
                    print(f"gnnrec: {error}; nobody is let in until that is mended", file=sys.stderr)
                self._said = str(error)
        if self._callers is None:
            raise UserError("the keys cannot be read now; come again")
        return self._callers.get(_digest(key))


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What changes with a file: times, those that a copy keeps and those that it cannot, size, and which one it is."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _read(path: Path) -> dict[str, Caller]:
    """sha256 of each key -> whose it is."""
    try:
        writable = path.stat().st_mode & stat.S_IWOTH
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [(_text(row["sha256"]), _text(row["name"]), _text(row["role"])) for row in document["keys"]]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no file of keys; gnnrec key makes one") from error
    if writable:
        raise UserError(f"{path}: anybody here may write keys into it; allowed: after chmod o-w {path}")
    for _, name, role in rows:
        if role not in ROLES:
            raise UserError(f"{path}: key {name!r}: role {role!r}; allowed: {', '.join(ROLES)}")
    return {digest: Caller(name, role) for digest, name, role in rows}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def add_key(path: Path, name: str, role: str = "client") -> str:
    """Add a new key to the file, which is made where it is not there; returns the key, which is kept nowhere.

    Raises UserError where the file has one of this name.
    """
    keys, mode = [], 0o644
    if path.exists():
        _read(path)
        mode = stat.S_IMODE(path.stat().st_mode)  # who closed it to others finds it closed
        keys = json.loads(path.read_text(encoding="utf-8"))["keys"]
    if name in {key["name"] for key in keys}:
        raise UserError(f"{path}: has a key named {name!r}; allowed: another name, or take its line out first")
    key = PREFIX + secrets.token_urlsafe(32)
    write_json(path, {"keys": [*keys, {"name": name, "role": role, "sha256": _digest(key)}]}, mode)
    return key


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class RateLimit:
    """Token buckets: `rate` requests a second for each caller, up to twice as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, max(2 * rate, 1.0), clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when that was

    def wait(self, caller: str) -> float:
        """0 where the caller may go on; else the seconds until she may."""
        if not self._rate:
            return 0.0
        now = self._clock()
        tokens, then = self._buckets.pop(caller, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - allowed, now)
        if len(self._buckets) > MANY_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._rate
