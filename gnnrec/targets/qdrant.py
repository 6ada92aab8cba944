"""Qdrant: a collection a side, behind aliases that are moved to both new ones at once.

A folder is refused: the client's own storage there is of pickles, which run code as they are opened, and it writes 50
points a second. The user names the server at the command line; QDRANT_API_KEY in the environment is its key.
"""

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnnrec.datasets.sources.sql import public
from gnnrec.errors import UserError, missing_extra
from gnnrec.export import Vectors
from gnnrec.targets.table import BATCH, SIDES, Batch, Table, as_rows, same_stamp, told

TIMEOUT = 60  # seconds of one request
INDEXED_WITHIN = 600  # seconds that a server has for its index before the check goes on without
KEY = "QDRANT_API_KEY"


@dataclass(frozen=True, slots=True)
class Qdrant:
    """The point with the number r is row r; its payload has id, and title and text of items. Distance: inner product.

    The alias NAME_items stands for the collection NAME_items.STAMP.
    """

    client: Any
    name: str
    where: str

    def taken(self) -> list[str]:
        with self._told():
            aliases, collections = self._aliases(), self._collections()
        for side in SIDES:
            if f"{self.name}_{side}" in collections:
                found = f"{self.where}: {self.name}_{side} is a collection that gnnrec did not make"
                raise UserError(f"{found}; allowed: another --name")
        return [f"{self.name}_{side}" for side in SIDES if f"{self.name}_{side}" in aliases]

    def write(self, tables: Mapping[str, Table], stamp: str, *, exact: bool) -> list[str]:
        from qdrant_client import models

        with self._told():
            moved: list[Any] = []
            for side, table in tables.items():
                alias, new = f"{self.name}_{side}", f"{self.name}_{side}.{stamp}"
                self._fill(new, table, exact or side == "users")
                made = models.CreateAlias(collection_name=new, alias_name=alias)
                if alias in self._aliases():
                    old = models.DeleteAlias(alias_name=alias)
                    moved.append(models.DeleteAliasOperation(delete_alias=old))
                moved.append(models.CreateAliasOperation(create_alias=made))
            self.client.update_collection_aliases(moved)
            self._drop_remains()
        return [f"{self.name}_{side}" for side in tables]

    def read(self) -> Iterator[Batch]:
        with self._told():
            aliases = self._aliases()
            collections = {side: aliases.get(f"{self.name}_{side}") for side in SIDES}
            for side, collection in collections.items():
                if collection is None:
                    raise UserError(f"{self.where}: no alias {self.name}_{side}; gnnrec export makes it")
            same_stamp(self.where, [str(collection).rpartition(".")[2] for collection in collections.values()])
            for side, collection in collections.items():
                for points in self._scroll(collection):
                    ids = [point.payload.get("id") for point in points]
                    yield side, ids, as_rows(f"{self.where}: {side}", ids, [point.vector for point in points])

    def search(self, queries: Vectors, k: int) -> list[list[str]]:
        with self._told():
            self._wait_for_index()
            asked = {"collection_name": f"{self.name}_items", "limit": k, "with_payload": ["id"]}
            found = (self.client.query_points(query=query.tolist(), **asked).points for query in queries)
            return [[point.payload["id"] for point in points] for points in found]

    def close(self) -> None:
        self.client.close()

    def _told(self) -> Any:
        from qdrant_client.http.exceptions import ApiException

        return told(self.where, ApiException, ValueError)  # ValueError: of the client in this process

    def _aliases(self) -> dict[str, str]:
        return {alias.alias_name: alias.collection_name for alias in self.client.get_aliases().aliases}

    def _collections(self) -> list[str]:
        return [collection.name for collection in self.client.get_collections().collections]

    def _fill(self, collection: str, table: Table, exact: bool) -> None:
        from qdrant_client import models

        self.client.create_collection(
            collection,
            vectors_config=models.VectorParams(size=table.vectors.shape[1], distance=models.Distance.DOT),
            hnsw_config=models.HnswConfigDiff(m=0) if exact else None,  # no edges: no graph is built
        )
        self.client.create_payload_index(collection, "id", models.PayloadSchemaType.KEYWORD)
        first = 0
        for batch in table.batches(f"writing {collection}"):
            columns = {"id": batch.ids, **batch.words}
            payloads = [dict(zip(columns, row)) for row in zip(*columns.values())]
            rows = list(range(first, first + len(payloads)))
            points = models.Batch(ids=rows, vectors=batch.vectors.tolist(), payloads=payloads)
            self.client.upsert(collection, points, wait=True)
            first += len(payloads)

    def _drop_remains(self) -> None:
        """Collections of this name that no alias stands for: what was replaced, what a stopped export left."""
        kept = set(self._aliases().values())
        for collection in self._collections():
            if collection not in kept and collection.rpartition(".")[0] in {f"{self.name}_{side}" for side in SIDES}:
                self.client.delete_collection(collection)

    def _scroll(self, collection: str | None) -> Iterator[Any]:
        offset = None
        while True:
            points, offset = self.client.scroll(
                collection, limit=BATCH, offset=offset, with_payload=["id"], with_vectors=True
            )
            if points:
                yield points
            if offset is None:
                return

    def _wait_for_index(self) -> None:
        """A server builds it after the answer to the last batch, and searches one by one until then."""
        from qdrant_client import models

        until = time.monotonic() + INDEXED_WITHIN
        while self.client.get_collection(f"{self.name}_items").status == models.CollectionStatus.YELLOW:
            if time.monotonic() > until:
                return
            time.sleep(0.5)


def open_qdrant(address: str, name: str) -> Qdrant:
    """qdrant:http://host:6333."""
    url = address.partition(":")[2]
    if url.partition("://")[0] not in ("http", "https"):
        raise UserError(f"{address!r}: no server; allowed: qdrant:http://host:6333 (a folder would hold pickles)")
    try:
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise missing_extra("qdrant", "qdrant-client") from error
    where = f"qdrant:{public(url)}"
    with told(where, ValueError):
        client = QdrantClient(url=url, api_key=os.environ.get(KEY), timeout=TIMEOUT, check_compatibility=False)
    return Qdrant(client, name, where)
