"""Writing so that nothing is lost: a file is either its old self or its new self, whatever happens in between."""

import ctypes
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of renameat2(2)
KEYS = "data-keys.json"  # in a folder whose other files are encrypted, see vault.py
FULL = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS))


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Where the disk is full or broken, a UserError that names `target`; any other exception stays what it is.

    By the words of the system, since safetensors, polars and FAISS put these into exceptions of their own.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = next((words for words in FULL if words in str(error)), None)
        if isinstance(error, OSError) and error.errno is None:  # as of numpy's tofile
            reason = str(error)
        if reason is not None:
            raise UserError(f"{target}: cannot be written ({reason})") from error
        raise


@contextmanager
def atomic_path(target: Path, mode: int = 0o644, *, sealed: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on a clean exit it is fsynced and renamed over `target`.

    mode: who may read and write it. sealed: whether what is written may stand in an encrypted folder. Raises UserError
    for anything else there.
    """
    if not sealed:
        refuse_plain(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, since writers of other libraries choose the format by it.
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=target.suffix, dir=target.parent)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    os.close(handle)
    temporary = Path(name)
    try:
        with writing(target):
            yield temporary
            sync_file(temporary)
            temporary.chmod(mode)
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def refuse_plain(target: Path) -> None:
    """Raises UserError for a file in an encrypted folder, where nothing plain is written."""
    if (target.parent / KEYS).exists():
        raise UserError(f"{target}: would be plain in an encrypted folder; choose a place outside of it")


def check_new(folder: Path) -> None:
    """Raises UserError where there is something already but an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there is something already; expected a new or empty folder")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target`; on a clean exit it takes its name, after any other it is gone.

    Raises UserError where it cannot be made. Of what is at `target` only an empty folder gives way.
    """
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target.parent))
    except OSError as error:
        raise UserError(f"{target}: cannot be made ({error.strerror})") from error
    try:
        with writing(target):
            yield temporary
            temporary.chmod(0o755)
            sync_tree(temporary)
            temporary.replace(target)
            sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def claim_folder(folder: Path, allowed: Collection[str]) -> None:
    """Make `folder`, or check that it holds nothing but files of the given names and left-over temporary ones.

    Raises UserError where it cannot be made or is somebody else's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be made a folder of results ({error.strerror})") from error
    # Of a writer that was killed: .tmp- and a name are ours, .tmp and one those of safetensors.
    foreign = [name for name in names if name not in allowed and not name.startswith(".tmp")]
    if foreign:
        raise UserError(f"{folder}: holds {foreign[0]}, so it is no unfinished run; expected a new or empty folder")


def sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_tree(folder: Path) -> None:
    """Make everything in a folder survive a power loss, the names too."""
    for place, _, names in os.walk(folder):
        for name in names:
            sync_file(Path(place) / name)
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(first: Path, second: Path) -> None:
    """Two files or folders beside each other change names at one moment, by renameat2(2) of Linux.

    Where the system or the file system has none (NFS, macOS) by three renames: who is killed between these leaves
    `first` under the name FIRST.replaced. Raises OSError.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None or rename(AT_FDCWD, bytes(first), AT_FDCWD, bytes(second), RENAME_EXCHANGE):
        if rename is not None and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(first))
        aside = first.with_name(f"{first.name}.replaced")
        first.rename(aside)
        second.rename(first)
        aside.rename(second)
    sync_folder(first.parent)


def write_text(target: Path, text: str, mode: int = 0o644) -> None:
    with atomic_path(target, mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, document: Any, mode: int = 0o644) -> None:
    write_text(target, json.dumps(document, indent=2, ensure_ascii=False) + "\n", mode)


def sha256_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
