"""A write layer that fails at the k-th call: the calls by which Python changes a disk, counted and made to fail.

What libraries write in C or Rust does not pass here; `small_disk` gives these a disk that is really full.
"""

import errno
import io
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("open", "write", "pwrite", "ftruncate", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "chmod")


class Failing:
    """Counts calls; the one numbered `at` (from 0), and all after it where `for_good`, raise ENOSPC."""

    def __init__(self, at: int | None = None, *, for_good: bool = False) -> None:
        self.at, self.for_good = at, for_good
        self.calls: list[str] = []

    def __call__(self, name: str) -> None:
        number = len(self.calls)
        self.calls.append(name)
        if self.at is not None and (number == self.at or (self.for_good and number > self.at)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def failing(at: int | None = None, *, for_good: bool = False) -> Iterator[Failing]:
    layer = Failing(at, for_good=for_good)

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            reads = name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not reads:
                layer(name)
            return call(*arguments, **named)

        return counted

    def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
        if set(mode) & set("wax+"):
            layer("open")
        return real_open(file, mode, *arguments, **named)

    real_open = io.open
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        patch.setattr(io, "open", opened)
        yield layer


def outcomes(change: Callable[[], object], state: Callable[[], object], *, for_good: bool = False) -> Iterator[object]:
    """The state after a change in which the k-th call failed, for every k until none fails."""
    at = 0
    while True:
        with failing(at, for_good=for_good) as layer:
            try:
                change()
            except Exception as error:
                assert os.strerror(errno.ENOSPC) in str(error) and "\n" not in str(error)
        yield state()
        if len(layer.calls) <= at:
            return
        at += 1


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of a size, which needs root; skips where there is none to be had."""
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs to mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
