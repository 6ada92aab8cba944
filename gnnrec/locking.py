"""One writer at a time in a folder: the second is told who the first is."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.files import writing

FILE = ".tmp-lock"  # by its name a left-over, so that nobody takes it for a part of the run


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is there, against every other process and thread that asks the same.

    By flock(2): the kernel lets go when the process ends, however it ends, so that no stale lock is ever in the way.
    Over NFS that holds between machines on Linux 2.6.12 and later; a mount with local_lock knows of one machine only.
    Raises UserError where somebody holds it, and where the folder cannot be written.
    """
    path = folder / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).strip()
            pid = holder.decode() if holder.isdigit() else "unknown"
            raise UserError(f"{folder}: another process writes into it (pid {pid}); wait for it or stop it") from error
        if not _is_still(path, descriptor):  # who held it took the file away between our open and our lock
            raise UserError(f"{folder}: another process has just written into it; try again")
        with writing(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
