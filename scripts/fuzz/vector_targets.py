"""Vectors of somebody else's: files of word vectors, shards of an index, ciphertexts of private scoring."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from target import Target

from gnnrec.encoders.fitted.vector_files import read_vectors
from gnnrec.errors import UserError
from gnnrec.sharded_index import search_shards, write_shards

TEXT = b"3 2\nheist 0.5 -1\nspace 0.25 2\nin 0 1e-3\n"
BINARY = b"2 2\n" + b"".join(word + b" " + np.float32([0.5, -1]).tobytes() + b"\n" for word in (b"heist", b"in"))
GLOVE = b"heist 0.5 -1 2\nspace 0.25 2 0\n"


def vector_targets(place: Path) -> Iterator[tuple[str, Callable[[], Target]]]:
    for name, seed in (("words.vec", TEXT), ("words.bin", BINARY), ("glove.txt", GLOVE)):
        yield f"vectors/{name}", lambda name=name, seed=seed: word_vectors(place / name, seed)
    for name in ("items.0001-of-0003.faiss", "items.ids.json"):
        yield f"shards/{name}", lambda name=name: shard(place / f"shards-{name}", name)
    yield "private/user", lambda: ciphertexts(answer=False)
    yield "private/answer", lambda: ciphertexts(answer=True)


def word_vectors(path: Path, seed: bytes) -> Target:
    def read(data: bytes) -> object:
        path.write_bytes(data)
        return read_vectors(path, 10)

    return Target(read, (seed,))


def shard(folder: Path, name: str) -> Target:
    item = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    folder.mkdir()
    write_shards(item, [f"i{row}" for row in range(9)], folder, 3)

    def read(data: bytes) -> object:
        (folder / name).write_bytes(data)
        return search_shards(folder, item[:2], 4)

    return Target(read, ((folder / name).read_bytes(),))


def ciphertexts(answer: bool) -> Target:
    """answer: what the client is given back; else what the server is asked."""
    from gnnrec.privacy.homomorphic import PrivateCatalogue, PrivateUser, Refused

    items = np.random.default_rng(0).normal(size=(5, 2))
    user, catalogue = PrivateUser(), PrivateCatalogue(items)
    asked = user.encrypt(items[0])

    def read(data: bytes) -> object:
        try:
            return user.decrypt(data, len(items)) if answer else catalogue.score(data)
        except Refused as error:  # shown by the service as its answer of 400, by the client as an error
            raise UserError(str(error)) from error

    return Target(read, (catalogue.score(asked) if answer else asked,))
