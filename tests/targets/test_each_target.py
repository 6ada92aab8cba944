"""What only one of the targets has: read by its own client, as a stranger would."""

import numpy as np
import pytest
from made_export import made

from gnnrec.errors import UserError
from gnnrec.targets import open_target
from gnnrec.targets.moving import gathered, store
from gnnrec.targets.postgresql import numbers_of
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


KEY_OF = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'"
WRONG_ROWS = {
    "NULL, '[1,2,3]'": "items: a row without an id",
    "'new', NULL": "items: 'new' has no vector",
    "'new', '[1,2]'": r"items: vectors of \d+ \('.+'\) and 2 \('new'\) dimensions; expected one length",
}


@pytest.mark.parametrize("row", WRONG_ROWS)
def test_rows_that_others_wrote_into_postgresql_are_refused_in_one_line(postgresql, unused_name, few, row):
    import psycopg

    store(open_target(postgresql, unused_name), few, {})
    with psycopg.connect(postgresql) as connection:
        table = f"{unused_name}_items"
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {connection.execute(KEY_OF, (table,)).fetchone()[0]}")
        connection.execute(f"ALTER TABLE {table} ALTER id DROP NOT NULL, ALTER vector TYPE vector")
        connection.execute(f"INSERT INTO {table} (id, vector) VALUES ({row})")
    with pytest.raises(UserError, match=WRONG_ROWS[row]) as caught:
        gathered(open_target(postgresql, unused_name))
    assert str(caught.value).startswith("postgresql:")


def test_arrays_and_half_vectors_of_postgresql_are_read(postgresql, unused_name, few):
    import psycopg
    from pgvector import HalfVector

    store(open_target(postgresql, unused_name), few, {})
    with psycopg.connect(postgresql) as connection:
        connection.execute(f"ALTER TABLE {unused_name}_items ALTER vector TYPE real[] USING vector::real[]")
    back = gathered(open_target(postgresql, unused_name))
    assert back.item_ids == few.item_ids and np.array_equal(back.item, few.item)
    assert numbers_of(HalfVector([0.5, 2])).tolist() == [0.5, 2]  # a type that this server is too old for


def test_rows_that_others_wrote_into_lancedb_are_refused_in_one_line(tmp_path):
    import lancedb
    import pyarrow as pa

    fixed = pa.list_(pa.float32(), 2)
    wrong = {
        "items: 'b' has no vector": (["a", "b"], pa.array([[1, 2], None], fixed)),
        "items: a row without an id": (["a", None], pa.array([[1, 2], [3, 4]], fixed)),
    }
    database = lancedb.connect(tmp_path)
    database.create_table("shop_users", pa.table({"id": ["u"], "vector": pa.array([[1, 2]], fixed)}))
    for said, (ids, vectors) in wrong.items():
        rows = pa.table({"id": pa.array(ids, pa.string()), "vector": vectors})
        database.create_table("shop_items", rows, mode="overwrite", on_bad_vectors="null")
        with pytest.raises(UserError, match=f"^lancedb:{tmp_path}: {said}"):
            gathered(open_target(f"lancedb:{tmp_path}", "shop"))


def test_points_that_others_wrote_into_qdrant_are_refused_in_one_line(few):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    target = Qdrant(client, "shop", "qdrant:here")
    store(target, few, {})
    client.upsert("shop_items", [models.PointStruct(id=99, vector=few.item[0].tolist(), payload={})])
    with pytest.raises(UserError, match="^qdrant:here: items: a row without an id"):
        gathered(target)
