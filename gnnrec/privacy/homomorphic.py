"""Inner products under encryption: CKKS (Cheon, Kim, Kim & Song 2017) of Microsoft SEAL, through TenSEAL.

The client encrypts her vector, each of its numbers in a ciphertext of its own that holds it in every slot; the server
multiplies ciphertext j by the column j of its items, encoded as a plaintext of SLOTS items, and adds them up; the
client decrypts SLOTS scores at once. Nothing is rotated, and no ciphertext is multiplied by another, so there are no
public, Galois or relinearization keys, and one prime is enough: scales are chosen so that the product fits below it
and is never rescaled. Ciphertexts are symmetric and carry the seed of their random half, which halves the upload.

Security: degree 4096 with a modulus of 60 bits; the tables of HomomorphicEncryption.org (2018) allow 75 bits for 192
bits of security, and SEAL refuses parameters that pass them. Both sides have these parameters in their code, so nobody
can talk the other into weaker ones. A key serves one request and never leaves the client. What was decrypted must not
go back to the server: approximate schemes lose their security so (Li & Micciancio 2021).

SEAL checks what it reads, but damaged bytes can end the process that reads them: see worker.py.

What it does not protect: the server learns that somebody asked, and when. The client learns the score of every item,
and since the results are not flooded with noise, perhaps more: as many requests as there are dimensions give her the
item vectors.

Letters: I items, d dimensions.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError, first_line, missing_extra

LENGTH = struct.Struct("<I")  # before each ciphertext of a message
MOST_BYTES = 70_000  # of one ciphertext: two polynomials of DEGREE numbers of eight bytes, and a header
SEEDED_BYTES = 34_000  # of one that carries a seed in the place of its second polynomial


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Of the encryption. A score is at most 1 where both vectors are, so that it has `modulus_bits` - 1 to fit in."""

    scheme: str = "CKKS"
    poly_modulus_degree: int = 4096
    modulus_bits: int = 60
    user_scale_bits: int = 31
    item_scale_bits: int = 27
    security_bits: int = 192

    @property
    def slots(self) -> int:
        """Items that one ciphertext holds the scores of."""
        return self.poly_modulus_degree // 2

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


PARAMETERS = Parameters()


class Refused(ValueError):
    """A message that is none of this protocol; the text may be shown to anybody."""


class PrivateUser:
    """The client's side: one key, for one request."""

    def __init__(self) -> None:
        """Raises UserError where TenSEAL is not installed."""
        self._seal = _Seal()
        self._secret = self._seal.api.KeyGenerator(self._seal.context).secret_key()

    def encrypt(self, vector: NDArray[np.floating[Any]]) -> bytes:
        """A vector [d] as a message, at length one: its length says nothing of the order of the items.

        Raises UserError for a vector that has no direction.
        """
        length = float(np.linalg.norm(vector))
        if vector.ndim != 1 or not np.isfinite(length) or not length:
            raise UserError(f"the user's vector: found shape {vector.shape}, length {length}; allowed: one row, not 0")
        seal, scale = self._seal, 2.0**PARAMETERS.user_scale_bits
        encryptor = seal.api.Encryptor(seal.context, self._secret)
        encrypted = (
            encryptor.encrypt_symmetric(seal.encoded(number, scale)) for number in (vector / length).astype(float)
        )
        return _packed(encrypted)

    def decrypt(self, message: bytes, num_items: int) -> NDArray[np.float64]:
        """The scores of all items, up to one positive factor. [I]

        Raises Refused for anything but the answer to a message of this key.
        """
        blocks = -(-num_items // PARAMETERS.slots)
        scale = 2.0 ** (PARAMETERS.user_scale_bits + PARAMETERS.item_scale_bits)
        decryptor = self._seal.api.Decryptor(self._seal.context, self._secret)
        scores = []
        for ciphertext in self._seal.unpacked(message, blocks, scale):
            plain = self._seal.api.Plaintext()
            decryptor.decrypt(ciphertext, plain)
            scores.append(self._seal.encoder.decode_double(plain))
        return np.concatenate(scores)[:num_items]


class PrivateCatalogue:
    """The server's side: items ready to be scored for whoever asks. It has no key."""

    def __init__(self, items: NDArray[np.floating[Any]]) -> None:
        """items: [I, d]. Raises UserError for rows that cannot be scored, and where TenSEAL is not installed.

        About 33 kB of memory for a dimension of each 2,048 items.
        """
        self._seal = _Seal()
        self.num_items, self.dim = items.shape
        slots, scale = PARAMETERS.slots, 2.0**PARAMETERS.item_scale_bits
        longest = float(np.linalg.norm(items, axis=1).max())
        if not np.isfinite(longest):
            raise UserError("private scoring: found item vectors that are not finite")
        self._blocks = []
        for start in range(0, self.num_items, slots):
            block = items[start : start + slots] / (longest or 1.0)
            columns = {j: self._seal.encoded(block[:, j].tolist(), scale) for j in range(self.dim)}
            # A product with nothing but zeros would be no ciphertext, and adds nothing.
            columns = {j: column for j, column in columns.items() if not column.is_zero()}
            if not columns:
                raise UserError(f"private scoring: the items {start} to {start + len(block) - 1} have vectors of zeros")
            self._blocks.append(columns)

    @property
    def most_bytes(self) -> int:
        """Of a message that may be scored."""
        return most_bytes(self.dim)

    def score(self, message: bytes) -> bytes:
        """The encrypted scores of all items for an encrypted vector. Raises Refused for anything else."""
        scale = 2.0**PARAMETERS.user_scale_bits
        user = self._seal.unpacked(message, self.dim, scale)
        try:
            return _packed(self._scored(user, columns) for columns in self._blocks)
        except (RuntimeError, ValueError) as error:  # ciphertexts that hold nothing random
            raise Refused(f"cannot be scored: {first_line(error)}") from error

    def _scored(self, user: Sequence[Any], columns: dict[int, Any]) -> Any:
        products = []
        for j, column in columns.items():
            products.append(self._seal.api.Ciphertext())
            self._seal.evaluator.multiply_plain(user[j], column, products[-1])
        total = self._seal.api.Ciphertext()
        self._seal.evaluator.add_many(products, total)
        return total


def most_bytes(dim: int) -> int:
    """Of a message that encrypts a vector [d]."""
    return dim * (SEEDED_BYTES + LENGTH.size)


def check_installed() -> None:
    """Raises UserError where TenSEAL is not."""
    _Seal()


class _Seal:
    """SEAL with PARAMETERS: what both sides have in common."""

    def __init__(self) -> None:
        try:
            import tenseal.sealapi as api
        except ImportError as error:
            raise missing_extra("he", "tenseal") from error
        self.api = api
        wanted = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
        wanted.set_poly_modulus_degree(PARAMETERS.poly_modulus_degree)
        wanted.set_coeff_modulus(api.CoeffModulus.Create(PARAMETERS.poly_modulus_degree, [PARAMETERS.modulus_bits]))
        level = {128: api.SEC_LEVEL_TYPE.TC128, 192: api.SEC_LEVEL_TYPE.TC192, 256: api.SEC_LEVEL_TYPE.TC256}
        self.context = api.SEALContext(wanted, True, level[PARAMETERS.security_bits])
        assert self.context.parameters_set(), self.context.parameters_error_message()
        self.evaluator = api.Evaluator(self.context)

    @cached_property
    def encoder(self) -> Any:
        return self.api.CKKSEncoder(self.context)

    def encoded(self, numbers: float | list[float], scale: float) -> Any:
        """A plaintext of numbers, or of one number in every slot."""
        plain = self.api.Plaintext()
        self.encoder.encode(numbers, scale, plain)
        return plain

    def unpacked(self, message: bytes, count: int, scale: float) -> list[Any]:
        """The ciphertexts of a message. Raises Refused where they are not `count` fresh ones of this scale."""
        found: list[Any] = []
        with _through_file() as path:
            for part in _parts(message, count):
                path.write_bytes(part)
                ciphertext = self.api.Ciphertext()
                try:
                    ciphertext.load(self.context, str(path))  # SEAL checks sizes before it allocates, then every number
                except (RuntimeError, ValueError, IndexError) as error:
                    raise Refused(f"ciphertext {len(found)}: {first_line(error)}") from error
                if ciphertext.size() != 2 or ciphertext.scale != scale or not ciphertext.is_ntt_form():
                    raise Refused(f"ciphertext {len(found)}: of another kind")
                found.append(ciphertext)
        return found


def _packed(ciphertexts: Iterable[Any]) -> bytes:
    """Ciphertexts as a message: each behind its length."""
    parts = []
    with _through_file() as path:
        for ciphertext in ciphertexts:
            ciphertext.save(str(path))
            part = path.read_bytes()
            parts += [LENGTH.pack(len(part)), part]
    return b"".join(parts)


def _parts(message: bytes, count: int) -> Iterator[bytes]:
    """The `count` ciphertexts of a message, as bytes. Raises Refused where there are more, fewer or too long ones."""
    place = 0
    for number in range(count):
        if len(message) - place < LENGTH.size:
            raise Refused(f"found {number} ciphertexts; allowed: {count}")
        (length,) = LENGTH.unpack_from(message, place)
        place += LENGTH.size
        if not 0 < length <= min(MOST_BYTES, len(message) - place):
            raise Refused(f"ciphertext {number}: its length does not fit")
        yield message[place : place + length]
        place += length
    if place != len(message):
        raise Refused(f"found {len(message) - place} bytes behind {count} ciphertexts")


@contextmanager
def _through_file() -> Iterator[Path]:
    """TenSEAL reads and writes SEAL's objects as files only."""
    with TemporaryDirectory(prefix="gnnrec-") as folder:
        yield Path(folder) / "ciphertext"
