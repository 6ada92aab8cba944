"""What only one of the targets has: read by its own client, as a stranger would."""

import numpy as np
import pytest
from made_export import made

from gnnrec.errors import UserError
from gnnrec.targets import open_target
from gnnrec.targets.moving import gathered, store
from gnnrec.targets.qdrant import Qdrant

WORDS = {"title": ["one", None, "three"], "text": ["one. a", None, "three. c"]}


@pytest.fixture
def few():
    return made(num_items=3)._replace(item_ids=("a", "b", "c"))


def test_lancedb_is_an_ordinary_database(tmp_path, few):
    import lancedb
    import pyarrow as pa

    store(open_target(f"lancedb:{tmp_path}", "shop"), few, WORDS)
    table = lancedb.connect(tmp_path).open_table("shop_items")
    assert table.to_arrow().select(["id", "title", "text"]).to_pydict() == {"id": ["a", "b", "c"]} | WORDS
    assert table.schema.field("vector").type == pa.list_(pa.float32(), 16)
    assert lancedb.connect(tmp_path).open_table("shop_users").schema.names == ["id", "vector"]


def test_lancedb_tells_tables_of_different_exports(tmp_path, few):
    import lancedb

    target = open_target(f"lancedb:{tmp_path}", "shop")
    store(target, few, {})
    old = lancedb.connect(tmp_path).open_table("shop_users").to_arrow()
    store(target, few, {}, replace=True)
    lancedb.connect(tmp_path).create_table("shop_users", old, mode="overwrite")
    with pytest.raises(UserError, match="users and items are of different exports"):
        gathered(target)


def test_lancedb_has_an_index_where_it_is_wanted(tmp_path):
    import lancedb

    for name, exact in (("one", True), ("two", False)):
        store(open_target(f"lancedb:{tmp_path}", name), made(), {}, exact=exact)
        indexes = lancedb.connect(tmp_path).open_table(f"{name}_items").list_indices()
        assert [index.index_type for index in indexes] == ([] if exact else ["IvfHnswSq"])


@pytest.mark.filterwarnings("ignore:Payload indexes have no effect")
def test_qdrant_keeps_nothing_but_what_the_aliases_stand_for(few):
    qdrant_client = pytest.importorskip("qdrant_client")
    client = qdrant_client.QdrantClient(":memory:")
    target = Qdrant(client, "shop", "qdrant:here")
    vectors = qdrant_client.models.VectorParams(size=2, distance=qdrant_client.models.Distance.DOT)
    for name in ("shop_items.0123", "other_items.0123", "shop_items.of.mine"):
        client.create_collection(name, vectors_config=vectors)
    for replace in (False, True):
        store(target, few, WORDS, replace=replace)
    aliases = {alias.alias_name: alias.collection_name for alias in client.get_aliases().aliases}
    mine = {"other_items.0123", "shop_items.of.mine"}
    assert {entry.name for entry in client.get_collections().collections} == {*aliases.values(), *mine}
    points = client.scroll("shop_items", with_payload=True)[0]
    payload = [{"id": name, "title": title, "text": text} for name, title, text in zip("abc", *WORDS.values())]
    assert [point.payload for point in points] == payload
    assert client.get_collection("shop_items").config.params.vectors.distance == "Dot"


def test_qdrant_leaves_a_collection_alone_that_is_not_its_own(few):
    qdrant_client = pytest.importorskip("qdrant_client")
    client = qdrant_client.QdrantClient(":memory:")
    vectors = qdrant_client.models.VectorParams(size=2, distance=qdrant_client.models.Distance.DOT)
    client.create_collection("shop_items", vectors_config=vectors)
    with pytest.raises(UserError, match="shop_items is a collection that gnnrec did not make; allowed: another --name"):
        store(Qdrant(client, "shop", "qdrant:here"), few, {}, replace=True)


def test_postgresql_is_asked_in_sql(postgresql, unused_name, few):
    import psycopg

    store(open_target(postgresql, unused_name), few, WORDS)
    with psycopg.connect(postgresql) as connection:
        rows = connection.execute(f"SELECT id, title, text FROM {unused_name}_items ORDER BY id").fetchall()
        assert rows == list(zip("abc", *WORDS.values()))
        # the list of one user, within the database
        tables = f"{unused_name}_items item, {unused_name}_users person"
        asked = f"SELECT item.id FROM {tables} WHERE person.id = 'u7' ORDER BY item.vector <#> person.vector"
        best = connection.execute(asked).fetchall()
    expected = np.argsort(-(few.item @ few.user[7]))
    assert [name for (name,) in best] == ["abc"[item] for item in expected]


def test_postgresql_uses_its_index(postgresql, unused_name):
    import psycopg

    query = f"(SELECT vector FROM {unused_name}_users LIMIT 1)"
    asked = f"EXPLAIN SELECT id FROM {unused_name}_items ORDER BY vector <#> {query} LIMIT 10"
    for exact in (True, False):
        store(open_target(postgresql, unused_name), made(), {}, exact=exact, replace=True)
        with psycopg.connect(postgresql) as connection:
            plan = "\n".join(line for (line,) in connection.execute(asked).fetchall())
        assert ("Index Scan" in plan) != exact


def test_postgresql_tells_no_secrets(postgresql):
    address = postgresql.replace("postgres:@", "nobody:geheim@")
    with pytest.raises(UserError, match='role "nobody" does not exist') as caught:
        open_target(address, "shop")
    assert "geheim" not in str(caught.value) and "nobody:" not in str(caught.value)


def test_lancedb_leaves_a_table_alone_that_is_not_its_own(tmp_path, few):
    import lancedb

    theirs = lancedb.connect(tmp_path).create_table("shop_users", [{"id": "mine"}])
    with pytest.raises(UserError, match="shop_users: there already"):
        store(open_target(f"lancedb:{tmp_path}", "shop"), few, {})
    assert theirs.to_arrow()["id"].to_pylist() == ["mine"]
