import numpy as np
import polars as pl
import pytest
from made_export import made

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.export import FORMATS, Exported, export_embeddings, import_embeddings
from gnnrec.targets.moving import fetch, rows_of


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_is_read_in_whatever_format_it_has(tmp_path, name):
    embeddings = made()
    export_embeddings(*embeddings, tmp_path, (name,))
    back = fetch(str(tmp_path), "gnnrec")
    assert back[2:] == embeddings[2:]
    assert np.array_equal(back.user, embeddings.user)
    assert np.array_equal(back.item, embeddings.item) == (name != "faiss-pq")


def test_broken_files_are_refused(tmp_path):
    embeddings = made(num_items=6)
    export_embeddings(*embeddings, tmp_path, ("npy",))
    np.save(tmp_path / "items.npy", np.where(np.arange(6)[:, None] == 3, np.inf, embeddings.item))
    with pytest.raises(UserError, match=f"{tmp_path}: items: the vector of '书籍' is not of finite numbers"):
        fetch(str(tmp_path), "gnnrec")


@pytest.fixture
def shop(tmp_path):
    """Items c, a, -, b, x in the order of the file; one row has no id."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "log.csv").write_text("user,item\nu1,a\nu1,b\nu2,c\nu2,x\n")
    (folder / "items.csv").write_text("item,title\nc,C\na,A\n,nothing\nb,B\nx,X\n")
    (folder / "users.csv").write_text("user,bio\nu2,two\nu1,one\n")
    described = '[interactions]\npath = "log.csv"\n[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]\n'
    described += '[users]\npath = "users.csv"\nid = "user"\ntext = ["bio"]\n'
    (folder / "dataset.toml").write_text('name = "shop"\n' + described)
    return folder


@pytest.fixture
def embeddings():
    item = np.array([[1, 10], [2, 20], [3, 30], [4, 40]], np.float32)
    return Exported(np.array([[5, 50]], np.float32), item, ("u1",), ("a", "b", "c", "d"))


def test_rows_stand_in_the_order_of_the_file(shop, embeddings):
    rows = rows_of(shop, embeddings)
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(rows["items"], [[3, 30], [1, 10], nothing, [2, 20], nothing])
    np.testing.assert_array_equal(rows["users"], [nothing, [5, 50]])


def test_ids_that_nobody_knows_are_an_error(shop, embeddings):
    with pytest.raises(UserError, match=r"items.csv: none of its ids has a vector; 4 have one, such as 'e'"):
        rows_of(shop, embeddings._replace(item_ids=("e", "f", "g", "h")))


def test_the_command_makes_features_that_the_dataset_takes(one_document, shop, embeddings, tmp_path):
    export_embeddings(*embeddings, tmp_path / "exported", ("safetensors",))
    document = one_document("import", tmp_path / "exported", "--to", shop / "collab", "--rows-of", shop)
    assert (document["items"], document["users"], document["dimensions"]) == (4, 1, 2)
    assert "3 of 5 items, 1 of 2 users" in document["use"]
    described = shop / "dataset.toml"
    described.write_text(described.read_text() + document["use"])
    dataset = Dataset.load(shop)
    found = {name: row.tolist() for name, row in zip(dataset.item_ids, dataset.item_features["collab"])}
    assert {name: found[name] for name in "abc"} == {"a": [1, 10], "b": [2, 20], "c": [3, 30]}
    assert np.isnan(found["x"]).all()
    users = {name: row.tolist() for name, row in zip(dataset.user_ids, dataset.user_features["collab"])}
    assert users["u1"] == [5, 50] and np.isnan(users["u2"]).all()


def test_the_commands_carry_a_run_there_and_back(one_document, run_command, tiny_run, tmp_path):
    place = f"lancedb:{tmp_path / 'lance'}"
    status, out, err = run_command("export", tiny_run.folder, "--to", place)
    assert (status, out.splitlines()) == (0, [f"{place} gnnrec_users", f"{place} gnnrec_items"])
    assert f"{place}: recall@10 1.0000 against the exact search (40 users)" in err
    document = one_document("export", tiny_run.folder, "--to", place, "--replace", "--dim", 2)
    assert document["checks"][place]["recall@10"] < 1
    one_document("export", tiny_run.folder, "--to", place, "--replace")
    one_document("import", place, "--to", tmp_path / "back", "--format", "parquet,npy")
    for name in ("parquet", "npy"):
        back = import_embeddings(tmp_path / "back", name)
        assert (back.user_ids, back.item_ids) == (tiny_run.user_ids, tiny_run.item_ids)
        assert np.array_equal(back.item, tiny_run.embeddings.item.numpy())
    import lancedb

    items = pl.from_arrow(lancedb.connect(tmp_path / "lance").open_table("gnnrec_items").to_arrow())
    assert dict(items.select("id", "title").iter_rows())["i4"] == "Title 4"


def test_an_import_overwrites_nothing(run_command, tmp_path):
    export_embeddings(*made(), tmp_path / "exported", ("npy",))
    before = {path: path.read_bytes() for path in (tmp_path / "exported").iterdir()}
    status, _, err = run_command("import", tmp_path / "exported", "--to", tmp_path / "exported")
    assert (status, err.count("\n")) == (2, 1)
    assert err == f"gnnrec: {tmp_path / 'exported'}: there is something already; expected a new or empty folder\n"
    assert {path: path.read_bytes() for path in (tmp_path / "exported").iterdir()} == before
    nobody = "qdrant:http://127.0.0.1:1"  # is not asked
    status, _, err = run_command("import", nobody, "--to", tmp_path / "exported")
    assert status == 2 and "something already" in err
