"""Every target, opened as a user opens it; Qdrant in this process, PostgreSQL by a real server."""

from collections.abc import Callable, Iterator

import pytest

from gnnrec.targets import TARGETS, Target, open_target
from gnnrec.targets.qdrant import Qdrant


@pytest.fixture(params=[name for name in TARGETS if name != "postgres"])
def opened(request, tmp_path, unused_name) -> Iterator[Callable[[], Target]]:
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
        target.close()


@pytest.fixture
def unused_name(request) -> str:
    """The server is shared by all tests: each has tables of its own."""
    return f"t{abs(hash(request.node.nodeid)) % 10**12}"
