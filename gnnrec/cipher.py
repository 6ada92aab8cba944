"""Bytes to sealed bytes and back: AES-256-GCM of the library `cryptography`, which only this module imports.

    sealed file   header, then chunks of CHUNK bytes, each with its tag; the last one may be shorter
    header        MAGIC, id of the data key [8 bytes], salt [32 bytes]

Each file has a key of its own: HKDF-SHA256 of the folder's data key with the file's salt, so that no nonce is ever used
twice under one key. Chunk c has the nonce c (11 bytes) and a byte that is 1 for the last one: the STREAM construction
(Hoang, Reyhanitabar, Rogaway & Vizár 2015) as the file format age has it, with AES-GCM in the place of ChaCha20. Header
and name of the file go into each tag. So a flipped byte, a cut, chunks in another order, and a file under another's
name are all refused.

A data key is kept sealed by the user's key (an envelope): to change that one, no data are written anew.
"""

import base64
import hashlib
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.errors import UserError, missing_extra

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"gnnrec\x00\x01"  # the last byte is the version
ID, SALT, TAG, KEY = 8, 32, 16, 32  # bytes
HEADER = len(MAGIC) + ID + SALT
CHUNK = 1 << 20
VARIABLE, FILE_VARIABLE = "GNNREC_KEY", "GNNREC_KEY_FILE"
WANTED = "32 bytes in base64 or hexadecimal"


class Refused(ValueError):
    """What is no sealed piece under this key and name, or not as it was sealed. The message names no file."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the id that goes beside what it sealed."""

    secret: bytes  # [32]
    id: bytes  # [8]

    @classmethod
    def new(cls) -> "Key":
        """A data key, of the operating system's random bits; its id is drawn, too."""
        return cls(secrets.token_bytes(KEY), secrets.token_bytes(ID))

    def __repr__(self) -> str:
        return f"Key({self.id.hex()})"  # a key is in no traceback and no log


def user_key(file: Path | None = None) -> Key:
    """The key in `file`, or in what the environment names. Its id is a hash: a user's key has 256 random bits.

    Raises UserError where there is none, two, or something else.
    """
    if file is None:
        typed, named = os.environ.get(VARIABLE), os.environ.get(FILE_VARIABLE)
        if typed and named:
            raise UserError(f"{VARIABLE} and {FILE_VARIABLE} are both set; allowed: one of them")
        if typed:
            return _parsed(typed, VARIABLE)
        if not named:
            raise UserError(f"encryption needs a key: set {FILE_VARIABLE}=FILE or {VARIABLE} ({WANTED})")
        file = Path(named)
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        raise UserError(f"{file}: the key cannot be read ({error.strerror})") from error
    except UnicodeDecodeError:
        text = ""
    return _parsed(text, str(file))


def _parsed(text: str, where: str) -> Key:
    text, secret = text.strip(), b""
    with suppress(ValueError):
        secret = bytes.fromhex(text) if len(text) == 2 * KEY else base64.b64decode(text, validate=True)
    if len(secret) != KEY:
        raise UserError(f"{where}: not a key; allowed: {WANTED}, as gnnrec make-key writes")
    return Key(secret, hashlib.sha256(b"gnnrec key id" + secret).digest()[:ID])


def new_key_file(path: Path) -> None:
    """A new key that only its owner can read. Raises UserError where there is a file already."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UserError(f"{path}: a key cannot be written ({error.strerror})") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY)) + b"\n")
        file.flush()
        os.fsync(descriptor)


def is_sealed(start: bytes) -> bool:
    """Whether a file that starts so is a sealed one, of any version."""
    return start[: len(MAGIC) - 1] == MAGIC[:-1]


def is_sealed_by(start: bytes, key: Key) -> bool:
    return start[: len(MAGIC) + ID] == MAGIC + key.id


def seal(data: bytes | bytearray | memoryview, key: Key, name: str) -> bytearray:
    """A sealed file of that name."""
    header = new_header(key)
    cipher, told, view = of_piece(key, header), header + name.encode(), memoryview(data).cast("B")
    last = max(len(view) - 1, 0) // CHUNK
    sealed = bytearray(len(header) + len(view) + (last + 1) * TAG)
    sealed[: len(header)] = header
    place, into = len(header), memoryview(sealed)
    for number in range(last + 1):
        chunk = view[number * CHUNK : (number + 1) * CHUNK]
        end = place + len(chunk) + TAG
        cipher.encrypt_into(nonce(number, number == last), chunk, told, into[place:end])
        place = end
    return sealed


def unseal(sealed: bytes | memoryview, keys: Mapping[bytes, Key], name: str) -> bytes:
    """The bytes of a sealed file of that name. Raises Refused."""
    header, body = bytes(sealed[:HEADER]), memoryview(sealed)[HEADER:]
    cipher, told = of_piece(key_of(header, keys), header), header + name.encode()
    last = max(len(body) - 1, 0) // (CHUNK + TAG)
    if len(body) - last * (CHUNK + TAG) < TAG:
        raise Refused("was cut off")
    data = bytearray(len(body) - (last + 1) * TAG)
    into = memoryview(data)
    for number in range(last + 1):
        chunk = body[number * (CHUNK + TAG) : (number + 1) * (CHUNK + TAG)]
        opened(cipher, nonce(number, number == last), chunk, told, into[number * CHUNK : (number + 1) * CHUNK])
    return bytes(data)


def wrap(data_key: Key, key: Key) -> bytes:
    """A data key, sealed by the user's key; for this id and no other."""
    fresh = secrets.token_bytes(12)
    return fresh + _aes_gcm(key.secret).encrypt(fresh, data_key.secret, MAGIC + key.id + data_key.id)


def unwrap(wrapped: bytes, id: bytes, key: Key) -> Key:
    """Raises Refused."""
    secret = bytearray(max(len(wrapped) - 12 - TAG, 0))
    opened(_aes_gcm(key.secret), wrapped[:12], memoryview(wrapped)[12:], MAGIC + key.id + id, secret)
    return Key(bytes(secret), id)


def new_header(key: Key) -> bytes:
    return MAGIC + key.id + secrets.token_bytes(SALT)


def key_of(header: bytes, keys: Mapping[bytes, Key]) -> Key:
    """The data key that a header names. Raises Refused."""
    if len(header) < HEADER or not is_sealed(header):
        raise Refused("is not encrypted, or was cut off")
    if header[: len(MAGIC)] != MAGIC:
        raise Refused(f"is of version {header[len(MAGIC) - 1]}; this version of gnnrec reads {MAGIC[-1]}")
    id = header[len(MAGIC) : len(MAGIC) + ID]
    if id not in keys:
        raise Refused("was changed, or is of another folder: its data key is not in data-keys.json")
    return keys[id]


def of_piece(key: Key, header: bytes) -> "AESGCM":
    """The cipher of what stands behind one header: under a key of its own."""
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ModuleNotFoundError as error:
        raise missing_extra("encrypt", "cryptography") from error
    derived = HKDF(algorithm=SHA256(), length=KEY, salt=header[-SALT:], info=header[:-SALT]).derive(key.secret)
    return _aes_gcm(derived)


def nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def opened(
    cipher: "AESGCM", nonce: bytes, sealed: bytes | memoryview, told: bytes, into: bytearray | memoryview
) -> None:
    """Decrypt into a buffer of just that size. Raises Refused."""
    from cryptography.exceptions import InvalidTag

    try:
        cipher.decrypt_into(nonce, sealed, told, into)
    except (InvalidTag, ValueError) as error:
        raise Refused("was changed since it was encrypted, or is another file under this name") from error


def _aes_gcm(secret: bytes) -> "AESGCM":
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        raise missing_extra("encrypt", "cryptography") from error
    return AESGCM(secret)
