"""Every target, opened as a user opens it; Qdrant in this process, PostgreSQL by a real server."""

from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from gnnrec.export import Exported
from gnnrec.targets import TARGETS, open_target
from gnnrec.targets.qdrant import Qdrant

# A comma, a quote, a newline, another script and a number: all of them are ids.
ODD_IDS = ("1", 'a,"b"', "two\nlines", "书籍", "it's")


def made(num_items: int = 2_500, seed: int = 0, dim: int = 16) -> Exported:
    """More items than a batch holds."""
    random = np.random.default_rng(seed)
    user, item = (random.normal(size=(rows, dim)).astype(np.float32) for rows in (30, num_items))
    return Exported(user, item, tuple(f"u{row}" for row in range(30)), (*ODD_IDS, *map(str, range(5, num_items))))


@pytest.fixture(params=[name for name in TARGETS if name != "postgres"])
def opened(request, tmp_path, unused_name) -> Callable[[], object]:
    """A function that opens the same place again."""
    if request.param == "qdrant":
        qdrant_client = pytest.importorskip("qdrant_client")
        client = qdrant_client.QdrantClient(":memory:")
        yield lambda: Qdrant(client, unused_name, "qdrant:here")
        return
    address = f"lancedb:{tmp_path / 'lance'}"
    if request.param == "postgresql":
        address = request.getfixturevalue("postgresql")
    targets = []

    def again():
        targets.append(open_target(address, unused_name))
        return targets[-1]

    yield again
    for target in targets:
        with closing(target):
            pass


@pytest.fixture
def unused_name(request) -> str:
    """The server is shared by all tests: each has tables of its own."""
    return f"t{abs(hash(request.node.nodeid)) % 10**12}"
