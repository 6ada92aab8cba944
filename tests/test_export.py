import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch

from gnnrec.compression import from_int8, to_int8, truncate
from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.export import FORMATS, build_index, export_embeddings, import_embeddings
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


EXACT = [name for name in FORMATS if name != "faiss-pq"]


def top_10(user, item, user_ids, item_ids):
    return {
        name: [item_ids[row] for row in np.argsort(-scores, kind="stable")[:10]]
        for name, scores in zip(user_ids, user @ item.T)
    }


@pytest.mark.parametrize("name", EXACT)
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
    with pytest.raises(UserError, match="unknown format 'csv'; allowed: parquet, npy, safetensors, faiss, faiss-pq"):
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


@pytest.mark.parametrize("name", EXACT)
def test_a_file_that_is_cut_off_is_one_clear_line(embeddings, tmp_path, name):
    for path in export_embeddings(*embeddings, tmp_path, (name,)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    named = {
        "npy": "users.npy: not a readable .npy file: ",
        "faiss": "users.faiss: not a readable FAISS index; export ",
    }
    said = named.get(name, f"not an export in the format {name}: ")
    with pytest.raises(UserError, match=said) as caught:
        import_embeddings(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_lists_are_the_ones_that_are_served(tmp_path):
    log = Interactions(
        user=np.array([0, 0, 1], dtype=np.int32), item=np.array([0, 1, 2], dtype=np.int32), num_users=2, num_items=4
    )
    scores = np.array([[9, 8, 3, 2], [1, 5, 9, 4]], dtype=np.float32)
    best = top_k(lambda users: torch.from_numpy(scores[users.numpy()].copy()), np.arange(2), 3, log.matrix())
    lists = best.items.int().numpy(), best.scores.numpy()
    told = np.eye(2), np.eye(4, 2), ("ann", "bob"), ("a", "b", "c", "d"), tmp_path
    assert export_embeddings(*told, ["npy"], lists=lists)[-1] == tmp_path / "lists.parquet"
    assert pl.read_parquet(tmp_path / "lists.parquet").rows() == [
        ("ann", 1, "c", 3.0),
        ("ann", 2, "d", 2.0),
        ("bob", 1, "b", 5.0),
        ("bob", 2, "d", 4.0),
        ("bob", 3, "a", 1.0),
    ]
    export_embeddings(*told, ["npy"])  # of a run that needs none: the old ones would be taken for its own
    assert not (tmp_path / "lists.parquet").exists()


def test_int8_is_off_by_half_a_scale_at_most():
    vectors = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32) * np.logspace(-6, 6, 200)[:, None]
    vectors[7] = 0
    vectors = vectors.astype(np.float32)
    rows, scales = to_int8(vectors)
    assert rows.dtype == np.int8 and rows.min() == -127 and rows.max() == 127
    assert (np.abs(from_int8(rows, scales) - vectors) <= scales[:, None] * 0.50001).all()
    assert np.array_equal(np.abs(rows).max(1), np.where(np.arange(200) == 7, 0, 127))
    # a row of whole numbers up to 127 is kept to the bit
    whole = np.array([[-127, 3, 0, 90]], dtype=np.float32)
    assert np.array_equal(from_int8(*to_int8(whole)), whole)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("name", EXACT)
def test_compressed_vectors_come_back_as_float32(embeddings, tmp_path, name, precision):
    export_embeddings(*embeddings, tmp_path / "whole", (name,))
    export_embeddings(*embeddings, tmp_path, (name,), precision=precision)
    back = import_embeddings(tmp_path, name)
    assert (back.user_ids, back.item_ids) == embeddings[2:]
    for found, expected in zip(back[:2], embeddings[:2]):
        assert found.dtype == np.float32
        if precision == "fp16":
            assert np.array_equal(found, expected.astype(np.float16).astype(np.float32))
        elif name == "faiss":  # a range a dimension, not a row
            assert (np.abs(found - expected) <= np.ptp(expected, axis=0) / 255 * 1.01).all()
        else:
            assert np.array_equal(found, from_int8(*to_int8(expected)))


def test_compressed_files_are_smaller(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3000, 64)).astype(np.float32)
    ids = tuple(map(str, range(3000)))
    for precision, share in (("fp32", 1), ("fp16", 0.5), ("int8", 17 / 64)):  # a scale is as much as four of 64
        export_embeddings(vectors, vectors, ids, ids, tmp_path / precision, ("npy",), precision=precision)
        size = sum(path.stat().st_size for path in (tmp_path / precision).glob("items*.npy"))
        assert size == pytest.approx(vectors.nbytes * share, abs=256)  # but for the heads


def test_scales_of_an_export_before_do_not_stay(embeddings, tmp_path):
    for precision in ("int8", "fp32"):
        export_embeddings(*embeddings, tmp_path, ("npy",), precision=precision)
    assert not list(tmp_path.glob("*.scales.npy"))
    assert np.array_equal(import_embeddings(tmp_path, "npy").item, embeddings[1])


def test_scales_that_are_missing_are_an_error(embeddings, tmp_path):
    export_embeddings(*embeddings, tmp_path, ("npy",), precision="int8")
    (tmp_path / "items.scales.npy").unlink()
    with pytest.raises(UserError, match=r"items\.scales\.npy: not found"):
        import_embeddings(tmp_path, "npy")


def test_a_rotation_alone_keeps_every_inner_product(embeddings):
    user, item = truncate(*embeddings[:2], 16)
    assert np.allclose(user @ item.T, embeddings[0] @ embeddings[1].T, atol=1e-5)
    assert (np.diff((item**2).sum(0)) <= 1e-4).all()  # weightiest first


def test_truncation_keeps_what_the_items_live_in(tmp_path):
    """Items in 3 of 12 dimensions, none of them an axis: three kept dimensions lose nothing, the first three do."""
    random = np.random.default_rng(0)
    user = random.normal(size=(20, 12)).astype(np.float32)
    item = (random.normal(size=(40, 3)) @ random.normal(size=(3, 12))).astype(np.float32)
    ids = tuple(map(str, range(20))), tuple(map(str, range(40)))
    export_embeddings(user, item, *ids, tmp_path, ("npy",), dim=3)
    back = import_embeddings(tmp_path, "npy")
    assert back.item.shape == (40, 3)
    assert np.allclose(back.user @ back.item.T, user @ item.T, atol=1e-3)
    assert not np.allclose(user[:, :3] @ item[:, :3].T, user @ item.T, atol=1)


def test_product_quantization_finds_what_it_was_planted_for(tmp_path):
    """Items that are copies of 256 centres: their codes lose nothing; a search ranks as the vectors do."""
    import faiss

    random = np.random.default_rng(0)
    centres = random.normal(size=(256, 16)).astype(np.float32)
    item = np.repeat(centres, 40, axis=0)
    user = random.normal(size=(5, 16)).astype(np.float32)
    ids = tuple(map(str, range(5))), tuple(map(str, range(len(item))))
    export_embeddings(user, item, *ids, tmp_path, ("faiss-pq",))
    back = import_embeddings(tmp_path, "faiss-pq")
    assert np.array_equal(back.user, user)
    error = np.linalg.norm(back.item - item, axis=1) / np.linalg.norm(item, axis=1)
    assert error.mean() < 0.2
    index = faiss.read_index(str(tmp_path / "items.faiss"))
    assert index.pq.code_size == 4
    scores = user @ back.item.T
    found = index.search(user, 40)[0]
    assert np.allclose(found, -np.sort(-scores, axis=1)[:, :40], atol=1e-3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"precision": "int4"}, "export --precision: found 'int4'; allowed: fp32, fp16, int8"),
        ({"dim": 17}, "export --dim: found 17; allowed: 1 to 16"),
        ({"formats": ("faiss-pq",)}, "faiss-pq: found 50 items; allowed: 256 or more"),
        ({"formats": ("faiss-pq",), "dim": 6}, "faiss-pq: found 6 dimensions; allowed: multiples of 4"),
        ({"formats": ("faiss", "faiss-pq")}, "found faiss and faiss-pq"),
    ],
)
def test_what_cannot_be_compressed_is_said_before_a_file_is_written(embeddings, tmp_path, how, said):
    with pytest.raises(UserError, match=said):
        export_embeddings(*embeddings, tmp_path, **how)
    assert not list(tmp_path.iterdir())


def test_numbers_beyond_float16_are_refused(embeddings, tmp_path):
    with pytest.raises(UserError, match="--precision fp16: found a number above 65504"):
        export_embeddings(embeddings[0], embeddings[1] * 1e6, *embeddings[2:], tmp_path, precision="fp16")
    assert not list(tmp_path.iterdir())


MEASURED = """
import sys, threading, time
from pathlib import Path
import numpy as np, pyarrow.parquet
from gnnrec.export import export_embeddings

def own():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1024

def look():
    while not done:
        most[0] = max(most[0], own())
        time.sleep(0.001)

folder = Path(sys.argv[1])
table = np.load(folder / "table.npy", mmap_mode="r")
ids = tuple(map(str, range(len(table))))
export_embeddings(table[:9], table[:9], ids[:9], ids[:9], folder / "first", ("npy", "parquet", "safetensors"))
before, most, done = own(), [0.0], []
looking = threading.Thread(target=look)
looking.start()
for name, precision in (("npy", "fp32"), ("parquet", "int8"), ("safetensors", "fp16")):
    export_embeddings(table, table[:9], ids, ids[:9], folder / name, (name,), precision=precision)
done.append(True)
looking.join()
print(most[0] - before)
"""


def test_an_export_takes_memory_for_a_block(tmp_path):
    """A process of its own exports a table of 195 MB, which is on disk, and needs less than half of that."""
    rows = 400_000
    made = np.lib.format.open_memmap(tmp_path / "table.npy", mode="w+", dtype=np.float32, shape=(rows, 128))
    made[:] = np.random.default_rng(0).normal(size=(1000, 128)).astype(np.float32).repeat(rows // 1000, axis=0)
    made.flush()
    told = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], check=True, capture_output=True, text=True)
    assert float(told.stdout) < made.nbytes / 2**20 / 2
    for name in ("npy", "parquet", "safetensors"):
        back = import_embeddings(tmp_path / name, name)
        assert np.allclose(back.user[::5000], made[::5000], atol=0.05) and len(back.user_ids) == rows
