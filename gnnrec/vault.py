"""Files of a folder that may be encrypted: in one with a data-keys.json nothing plain is written or read.

    {"format": 1, "key": ID, "data_keys": {ID: SEALED, …}}    the user's key that is needed; data keys, sealed by it

The last data key seals what is written from now on; more than one are there only while `rekey --deep` is under way. A
single file (a feedback log) has FILE.data-keys.json. Plain folders are read and written as ever.
"""

import base64
import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gnnrec.cipher import MAGIC, Key, Refused, is_sealed, seal, unseal, unwrap, user_key, wrap
from gnnrec.errors import UserError
from gnnrec.files import KEYS, atomic_path

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Envelope:
    """The data keys of one folder by id, the newest last, and the user's key that seals them."""

    user: Key
    data: dict[bytes, Key]

    @property
    def newest(self) -> Key:
        return list(self.data.values())[-1]

    def save(self, path: Path) -> None:
        with atomic_path(path, sealed=True) as temporary:
            temporary.write_bytes(self._document())

    def _document(self) -> bytes:
        return _canonical(
            self.user.id.hex(),
            {id.hex(): base64.b64encode(wrap(key, self.user)).decode() for id, key in self.data.items()},
        )

    @classmethod
    def load(cls, path: Path, *others: Key) -> "Envelope":
        """others: keys of the user to try beside that of the environment, which is then not needed.

        Raises UserError for a key that is not the right one, and for a file that was changed.
        """
        try:
            content = path.read_bytes()
            document = json.loads(content)
            needed, sealed = bytes.fromhex(document["key"]), dict(document["data_keys"])
            whole = sealed and content == _canonical(document["key"], sealed)  # each byte has to be as it was
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{path}: was changed since it was written, so what it is of cannot be read")
        user = next((key for key in others if key.id == needed), None) or _environment_key(path)
        if user.id != needed:
            raise UserError(f"{path}: needs the key {needed.hex()}, found {user.id.hex()}; allowed: the right key")
        try:
            data = [unwrap(base64.b64decode(text), bytes.fromhex(id), user) for id, text in sealed.items()]
        except ValueError as error:
            raise UserError(f"{path}: was changed since it was written, so what it is of cannot be read") from error
        return cls(user, {key.id: key for key in data})


def keys_of(path: Path) -> Path:
    """Where the data keys of a folder are, or those of a single file that has its own."""
    return path / KEYS if path.is_dir() else path.with_name(f"{path.name}.{KEYS}")


def is_encrypted(path: Path) -> bool:
    """Of a folder, or of a single file."""
    return keys_of(path).exists()


def encrypt_folder(folder: Path) -> None:
    """From now on what is written there is encrypted; there again does nothing.

    Raises UserError without a key, with another one, and where something plain is there.
    """
    if (folder / KEYS).exists():
        Envelope.load(folder / KEYS)
        return
    envelope = new_envelope()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plain = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".tmp"))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made a folder ({error.strerror})") from error
    if plain:
        raise UserError(f"{folder}: holds {plain[0]}, which is not encrypted; expected a new or empty folder")
    envelope.save(folder / KEYS)


def encrypt_file(path: Path) -> None:
    """As `encrypt_folder`, of a single file that is written from now on, by sealed_log.py."""
    if (keys := keys_of(path)).exists():
        Envelope.load(keys)
        return
    if path.exists() and path.stat().st_size:
        raise UserError(f"{path}: holds what is not encrypted; expected a new or empty file")
    new_envelope().save(keys)


def new_envelope() -> Envelope:
    """Raises UserError without a key of the user."""
    user, data = user_key(), Key.new()
    return Envelope(user, {data.id: data})


def read_bytes(path: Path, envelope: Envelope | None = None) -> bytes:
    """A file, decrypted where it is encrypted. envelope: its folder's, where it is open already.

    Raises OSError where it cannot be read, and UserError without the key, where it was changed, and for a plain file
    where there should be none.
    """
    content, keys = path.read_bytes(), path.parent / KEYS
    if not keys.exists():
        if is_sealed(content[: len(MAGIC)]):
            raise UserError(f"{path}: is encrypted, but {KEYS} is not beside it")
        return content
    try:
        return unseal(content, (envelope or Envelope.load(keys)).data, path.name)
    except Refused as error:
        raise UserError(f"{path}: {error}") from error


def read_text(path: Path) -> str:
    """Raises as `read_bytes`, and ValueError for what is no UTF-8."""
    return read_bytes(path).decode("utf-8")


def write_bytes(path: Path, data: bytes | bytearray | memoryview, envelope: Envelope | None = None) -> None:
    """As `files.atomic_path`, encrypted where the folder is."""
    if (path.parent / KEYS).exists():
        data = seal(data, (envelope or Envelope.load(path.parent / KEYS)).newest, path.name)
    with atomic_path(path, sealed=True) as temporary:
        temporary.write_bytes(data)


@contextmanager
def open_write(path: Path) -> Iterator[IO[bytes]]:
    """As `write_bytes`, piece by piece: of a plain file only a piece is in memory, an encrypted one is sealed whole."""
    if (path.parent / KEYS).exists():
        content = io.BytesIO()
        yield content
        write_bytes(path, content.getbuffer())
    else:
        with atomic_path(path, sealed=True) as temporary, temporary.open("wb") as file:
            yield file


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, document: Any) -> None:
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """Of what a file says, encrypted or not."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _environment_key(path: Path) -> Key:
    try:
        return user_key()
    except UserError as error:
        raise UserError(f"{path.parent}: is encrypted; {error}") from error


def _canonical(key: str, sealed: dict[str, str]) -> bytes:
    return (json.dumps({"format": FORMAT, "key": key, "data_keys": sealed}, indent=2) + "\n").encode()
