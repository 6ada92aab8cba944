"""Sealed bytes: what cryptography itself gives for the written-down format, and every way to change them refused."""

import os
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gnnrec import cipher
from gnnrec.cipher import CHUNK, HEADER, TAG, Key, Refused, new_key_file, seal, unseal, unwrap, user_key, wrap
from gnnrec.errors import UserError

KEY = Key.new()
KEYS = {KEY.id: KEY}
PIECE = CHUNK + TAG


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 5])
def test_what_is_sealed_comes_back(size):
    data = os.urandom(size)
    sealed = seal(data, KEY, "a")
    assert len(sealed) == HEADER + size + TAG * max(1, -(-size // CHUNK))
    assert unseal(bytes(sealed), KEYS, "a") == data


def test_the_format_is_what_is_written_down():
    """Opened here by the library alone, from the description in cipher.py."""
    data = os.urandom(CHUNK + 3)
    sealed = bytes(seal(data, KEY, "name"))
    magic, id, salt = sealed[:8], sealed[8:16], sealed[16:48]
    assert (magic, id) == (b"gnnrec\x00\x01", KEY.id)
    aes = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=magic + id).derive(KEY.secret))
    first = aes.decrypt(bytes(11) + b"\x00", sealed[48 : 48 + PIECE], sealed[:48] + b"name")
    last = aes.decrypt((1).to_bytes(11, "big") + b"\x01", sealed[48 + PIECE :], sealed[:48] + b"name")
    assert first + last == data


def test_the_same_bytes_never_look_the_same():
    first, second = (bytes(seal(b"x" * 100, KEY, "a")) for _ in range(2))
    assert first[16:HEADER] != second[16:HEADER]  # the salts, so all that follows
    assert sum(a == b for a, b in zip(first[HEADER:], second[HEADER:])) < 10


def test_one_flipped_bit_anywhere_is_refused():
    sealed = seal(b"the quick brown fox", KEY, "a")
    for place in range(len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[place] ^= bit
            with pytest.raises(Refused):
                unseal(bytes(changed), KEYS, "a")


def test_a_cut_is_refused_wherever_it_is():
    sealed = bytes(seal(os.urandom(2 * CHUNK), KEY, "a"))
    for length in (0, 7, HEADER - 1, HEADER, HEADER + TAG - 1, HEADER + PIECE - 1, HEADER + PIECE, len(sealed) - 1):
        with pytest.raises(Refused):
            unseal(sealed[:length], KEYS, "a")
    with pytest.raises(Refused):
        unseal(sealed + b"\0", KEYS, "a")


def test_chunks_in_another_order_or_of_another_file_are_refused():
    sealed, other = (bytes(seal(os.urandom(3 * CHUNK), KEY, "a")) for _ in range(2))
    pieces = [sealed[HEADER + start : HEADER + start + PIECE] for start in (0, PIECE, 2 * PIECE)]
    foreign = other[HEADER : HEADER + PIECE]
    for order in ([1, 0, 2], [0, 0, 2], [0, 2, 1], [0, 2]):
        with pytest.raises(Refused):
            unseal(sealed[:HEADER] + b"".join(pieces[number] for number in order), KEYS, "a")
    with pytest.raises(Refused):
        unseal(sealed[:HEADER] + foreign + b"".join(pieces[1:]), KEYS, "a")
    with pytest.raises(Refused):
        unseal(sealed, KEYS, "b")


def test_a_data_key_is_wrapped_for_its_id_and_one_user():
    user, other = Key.new(), Key.new()
    wrapped = wrap(KEY, user)
    assert unwrap(wrapped, KEY.id, user) == KEY
    for wrong in (
        (wrapped, other.id, user),
        (wrapped, KEY.id, other),
        (wrapped[:-1], KEY.id, user),
        (b"", KEY.id, user),
    ):
        with pytest.raises(Refused):
            unwrap(*wrong)


def test_a_later_version_says_so():
    sealed = bytearray(seal(b"x", KEY, "a"))
    sealed[7] = 2
    with pytest.raises(Refused, match="is of version 2; this version of gnnrec reads 1"):
        unseal(bytes(sealed), KEYS, "a")


def test_a_new_key_file_is_its_owners_alone_and_is_never_overwritten(tmp_path):
    new_key_file(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert len(user_key(tmp_path / "key").secret) == 32
    with pytest.raises(UserError, match="File exists"):
        new_key_file(tmp_path / "key")


def test_the_key_of_the_environment_in_both_spellings(tmp_path, monkeypatch):
    new_key_file(tmp_path / "key")
    key = user_key(tmp_path / "key")
    monkeypatch.delenv("GNNREC_KEY_FILE", raising=False)
    for text in ((tmp_path / "key").read_text(), key.secret.hex()):
        monkeypatch.setenv("GNNREC_KEY", text)
        assert user_key() == key
    assert key.secret.hex() not in repr(key)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "encryption needs a key: set GNNREC_KEY_FILE=FILE or GNNREC_KEY"),
        ({"GNNREC_KEY": "a", "GNNREC_KEY_FILE": "b"}, "both set"),
        ({"GNNREC_KEY": "c2hvcnQ="}, "GNNREC_KEY: not a key; allowed: 32 bytes in base64 or hexadecimal"),
        ({"GNNREC_KEY": "x" * 64}, "not a key"),
        ({"GNNREC_KEY_FILE": "nowhere"}, "nowhere: the key cannot be read"),
    ],
)
def test_what_is_no_key_is_said(variables, said, monkeypatch):
    for name in ("GNNREC_KEY", "GNNREC_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=said) as caught:
        user_key()
    assert variables.get("GNNREC_KEY", "?") not in str(caught.value) or len(variables.get("GNNREC_KEY", "")) < 5


def test_without_the_library_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(UserError, match=r"cryptography is not installed: .*gnnrec\[encrypt\]"):
        cipher.wrap(KEY, KEY)
