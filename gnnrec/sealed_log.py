"""A file of encrypted records that is only ever appended to. It has data keys of its own, in FILE.data-keys.json.

    segment   the header of a sealed file (cipher.py), then records; one for each time the file was opened
    record    length [4 bytes], CRC-32 of these [4 bytes], the sealed record

Record r of a segment has the nonce r under the segment's own key; header and place in the file go into its tag, so that
records cannot be changed, moved, copied or taken out of the middle. What a crash cut off at the end was never
acknowledged and is left out; the next segment takes its place, under another key, so that no nonce is used twice.
Whole records cut off at the end cannot be told from records that were never written.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from gnnrec.cipher import HEADER, MAGIC, TAG, Key, Refused, key_of, new_header, nonce, of_piece, opened
from gnnrec.errors import UserError
from gnnrec.files import atomic_path, sync_folder
from gnnrec.vault import Envelope, keys_of

FRAME = struct.Struct(">II")


class SealedLog:
    """The file opened for appending, by one process at a time. Raises UserError where it cannot be."""

    def __init__(self, path: Path) -> None:
        envelope = Envelope.load(keys_of(path))
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            sync_folder(path.parent)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            _lock(self.descriptor, path)
            self._end = _whole(path, envelope)[1]  # behind the last whole record
        except UserError:
            os.close(self.descriptor)
            raise
        self._key = envelope.newest
        self._segment: _Segment | None = None

    def append(self, record: bytes) -> None:
        """Returns once it is on the disk. Raises OSError where it cannot be; what was written of it is void."""
        new, self._segment = self._segment or _Segment(self._key), None
        if not new.number:
            os.ftruncate(self.descriptor, self._end)
        piece = new.sealed(record, self._end)
        left = memoryview(piece)
        while left:
            left = left[os.write(self.descriptor, left) :]
        os.fsync(self.descriptor)
        self._end += len(piece)
        self._segment = new

    def close(self) -> None:
        os.close(self.descriptor)


def read_records(path: Path) -> list[bytes]:
    """Raises OSError where it cannot be read, and UserError without the key and where it was changed."""
    return _whole(path, Envelope.load(keys_of(path)))[0]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While nobody else appends. Raises UserError where somebody does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def seal_anew(path: Path, envelope: Envelope) -> None:
    """All records by the newest data key, in one segment, while it is `locked`. The file is the old or the new one."""
    _write(path, envelope, _whole(path, envelope)[0])


def replace_records(path: Path, records: Sequence[bytes]) -> None:
    """Other records in the place of all of them, while nobody else writes. The file is the old or the new one."""
    _write(path, Envelope.load(keys_of(path)), records)


def _write(path: Path, envelope: Envelope, records: Sequence[bytes]) -> None:
    segment, place = _Segment(envelope.newest), 0
    with atomic_path(path, 0o600, sealed=True) as temporary, temporary.open("wb") as new:
        for record in records:
            place += new.write(segment.sealed(record, place))


class _Segment:
    """What is written behind one header."""

    def __init__(self, key: Key) -> None:
        self.header = new_header(key)
        self.number = 0  # records so far
        self._cipher = of_piece(key, self.header)

    def sealed(self, record: bytes, place: int) -> bytes:
        """The next record, to be written at this place of the file; the first one with the header before it."""
        start = self.header if not self.number else b""
        told = self.header + (place + len(start)).to_bytes(8, "big")
        body = self._cipher.encrypt(nonce(self.number, False), record, told)
        self.number += 1
        return start + _frame(len(body)) + body


def _whole(path: Path, envelope: Envelope) -> tuple[list[bytes], int]:
    """The whole records, and where the last of them ends. Raises as `read_records`."""
    try:
        return _walk(path.read_bytes(), envelope.data)
    except FileNotFoundError:
        return [], 0
    except Refused as error:
        raise UserError(f"{path}: {error}") from error


def _walk(content: bytes, keys: Mapping[bytes, Key]) -> tuple[list[bytes], int]:
    records, end, place, number = list[bytes](), 0, 0, 0
    header, cipher = b"", None
    while place < len(content):
        start = content[place : place + HEADER]
        if start.startswith(MAGIC[:-1]) and len(start) == HEADER:
            header, cipher, number = start, of_piece(key_of(start, keys), start), 0
            place += HEADER
            continue
        if len(start) < FRAME.size or MAGIC.startswith(start[: len(MAGIC)]) or not any(content[place:]):
            break  # cut off within a header or a frame; or a file system that grew the file before it was filled
        length, _ = FRAME.unpack_from(start)
        if start[: FRAME.size] != _frame(length) or length < TAG or cipher is None:
            raise Refused(f"was changed since it was encrypted (byte {place:,})")
        body = content[place + FRAME.size : place + FRAME.size + length]
        if len(body) < length:
            break
        record = bytearray(length - TAG)
        opened(cipher, nonce(number, False), body, header + place.to_bytes(8, "big"), record)
        records.append(bytes(record))
        place += FRAME.size + length
        number, end = number + 1, place
    return records, end


def _frame(length: int) -> bytes:
    return FRAME.pack(length, zlib.crc32(length.to_bytes(4, "big")))


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise UserError(f"{path}: another process writes it now; stop that one first") from error
