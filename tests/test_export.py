import json
import sys

import numpy as np
import polars as pl
import pytest
import torch

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.export import FORMATS, build_index, export_embeddings, export_lists, import_embeddings
from gnnrec.ranking import top_k

# A comma, a quote, a newline, another script and a number: all of them are ids.
ODD_IDS = ("1", 'a,"b"', "two\nlines", "书籍", "")


@pytest.fixture
def embeddings():
    random = np.random.default_rng(0)
    user = random.normal(size=(12, 16)).astype(np.float32)
    item = random.normal(size=(50, 16)).astype(np.float32)
    user_ids = tuple(f"u{row}" for row in range(12))
    item_ids = ODD_IDS + tuple(f"i{row}" for row in range(5, 50))
    return user, item, user_ids, item_ids


def top_10(user, item, user_ids, item_ids):
    return {
        name: [item_ids[row] for row in np.argsort(-scores, kind="stable")[:10]]
        for name, scores in zip(user_ids, user @ item.T)
    }


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_back_recommends_the_same(embeddings, tmp_path, name):
    paths = export_embeddings(*embeddings, tmp_path, (name,))
    assert sorted(paths) == sorted(tmp_path.iterdir())  # no temporary file is left
    back = import_embeddings(tmp_path, name)
    assert (back.user_ids, back.item_ids) == embeddings[2:]
    assert np.array_equal(back.user, embeddings[0])
    assert np.array_equal(back.item, embeddings[1])
    assert top_10(*back) == top_10(*embeddings)


def test_a_faiss_search_finds_the_same_items(embeddings, tmp_path):
    import faiss

    user, _, user_ids, item_ids = embeddings
    export_embeddings(*embeddings, tmp_path, ("faiss",))
    labels = faiss.read_index(str(tmp_path / "items.faiss")).search(user, 10)[1]
    ids = json.loads((tmp_path / "items.ids.json").read_text(encoding="utf-8"))
    found = {name: [ids[label] for label in row] for name, row in zip(user_ids, labels)}
    assert found == top_10(user, embeddings[1], user_ids, item_ids)


def test_parquet_is_read_by_polars_duckdb_and_pandas(embeddings, tmp_path):
    import duckdb
    import pandas
    import polars

    _, item, _, item_ids = embeddings
    path = tmp_path / "items.parquet"
    export_embeddings(*embeddings, tmp_path, ("parquet",))
    table = polars.read_parquet(path)
    assert table.schema == {"id": polars.String, "embedding": polars.Array(polars.Float32, 16)}
    assert np.array_equal(table["embedding"].to_numpy(), item)
    frame = pandas.read_parquet(path)
    assert tuple(frame["id"]) == item_ids
    assert np.array_equal(np.stack(frame["embedding"].to_list()), item)
    score = f"list_inner_product(embedding, {embeddings[0][0].tolist()}::float[])"
    best = duckdb.sql(f"select id from '{path}' order by {score} desc limit 10").fetchall()
    assert [row[0] for row in best] == top_10(*embeddings)["u0"]


def test_parquet_columns_are_encoded_as_promised(embeddings, tmp_path):
    import pyarrow.parquet as pq

    export_embeddings(*embeddings, tmp_path, ("parquet",))
    column = pq.ParquetFile(tmp_path / "users.parquet").metadata.row_group(0).column(1)
    assert "BYTE_STREAM_SPLIT" in column.encodings
    assert column.compression == "ZSTD"


def test_large_catalogues_get_an_inverted_file_that_is_nearly_exact():
    import faiss

    vectors = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    index = build_index(vectors, flat_limit=3999)
    assert isinstance(index, faiss.IndexIVF)
    assert isinstance(build_index(vectors, flat_limit=4000), faiss.IndexFlat)
    exact = np.argsort(-(vectors[:100] @ vectors.T), axis=1)[:, :10]
    found = index.search(vectors[:100], 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found)]) > 0.8


def test_an_inverted_file_is_read_back_in_order(embeddings, tmp_path):
    import faiss

    vectors = np.random.default_rng(1).normal(size=(3000, 16)).astype(np.float32)
    ids = tuple(str(row) for row in range(3000))
    export_embeddings(embeddings[0], vectors, embeddings[2], ids, tmp_path, ("faiss",))
    faiss.write_index(build_index(vectors, flat_limit=10), str(tmp_path / "items.faiss"))
    assert np.array_equal(import_embeddings(tmp_path, "faiss").item, vectors)


def test_mistakes_are_named(embeddings, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown format 'csv'; allowed: parquet, npy, safetensors, faiss"):
        export_embeddings(*embeddings, tmp_path, ("parquet", "csv"))
    with pytest.raises(UserError, match="3 users ids do not fit"):
        export_embeddings(*embeddings[:2], ("a", "b", "c"), embeddings[3], tmp_path)
    for name in FORMATS:
        with pytest.raises(UserError, match=r"(users\.\w+|embeddings\.safetensors): not found"):
            import_embeddings(tmp_path, name)
    assert not list(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "faiss", None)  # as where it is not installed
    with pytest.raises(UserError, match=r"faiss-cpu is not installed.*gnnrec\[faiss\]"):
        export_embeddings(*embeddings, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_is_cut_off_is_one_clear_line(embeddings, tmp_path, name):
    for path in export_embeddings(*embeddings, tmp_path, (name,)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=f"not an export in the format {name}: ") as caught:
        import_embeddings(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_lists_are_the_ones_that_are_served(tmp_path):
    log = Interactions(
        user=np.array([0, 0, 1], dtype=np.int32), item=np.array([0, 1, 2], dtype=np.int32), num_users=2, num_items=4
    )
    scores = np.array([[9, 8, 3, 2], [1, 5, 9, 4]], dtype=np.float32)
    best = top_k(lambda users: torch.from_numpy(scores[users.numpy()].copy()), np.arange(2), 3, log.matrix())
    path = export_lists(best.items.int().numpy(), best.scores.numpy(), ("ann", "bob"), ("a", "b", "c", "d"), tmp_path)
    assert pl.read_parquet(path).rows() == [
        ("ann", 1, "c", 3.0),
        ("ann", 2, "d", 2.0),
        ("bob", 1, "b", 5.0),
        ("bob", 2, "d", 4.0),
        ("bob", 3, "a", 1.0),
    ]
