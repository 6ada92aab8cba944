"""What encrypted folders hold: data keys, sealed files, sealed logs, of somebody who has the key of the environment."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from target import Target

from gnnrec.cipher import VARIABLE
from gnnrec.files import KEYS
from gnnrec.sealed_log import SealedLog, read_records
from gnnrec.vault import Envelope, encrypt_file, encrypt_folder, read_bytes, write_bytes

KEY = "00" * 32


def with_key(read: Callable[[], object]) -> object:
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = KEY
    try:
        return read()
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before


def sealed_targets(place: Path) -> Iterator[tuple[str, Callable[[], Target]]]:
    yield "sealed/data-keys.json", lambda: of_file(place / "sealed-keys", KEYS, Envelope.load)
    yield "sealed/file", lambda: of_file(place / "sealed-file", "file", read_bytes)
    yield "sealed/log", lambda: of_log(place / "sealed-log")


def of_file(folder: Path, name: str, reader: Callable[[Path], object]) -> Target:
    def make() -> None:
        encrypt_folder(folder)
        write_bytes(folder / "file", b"what nobody else may read")

    with_key(make)
    return target(folder / name, reader)


def of_log(folder: Path) -> Target:
    path = folder / "told.jsonl"

    def make() -> None:
        folder.mkdir()
        encrypt_file(path)
        for _ in range(2):  # openings: a segment each
            log = SealedLog(path)
            for _ in range(2):
                log.append(b'{"user": "u", "item": "i", "timestamp": 1}\n')
            log.close()

    with_key(make)
    return target(path, read_records)


def target(path: Path, reader: Callable[[Path], object]) -> Target:
    def read(data: bytes) -> object:
        path.write_bytes(data)
        return with_key(lambda: reader(path))

    return Target(read, (path.read_bytes(),))
