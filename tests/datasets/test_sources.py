"""Folders of other tools, read as they are, and databases."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gnnrec.datasets import Dataset, split
from gnnrec.errors import UserError


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def facts(dataset: Dataset) -> list[tuple]:
    log = dataset.interactions
    columns = [column.tolist() for column in (log.rating, log.timestamp) if column is not None]
    return list(zip((dataset.user_ids[u] for u in log.user), (dataset.item_ids[i] for i in log.item), *columns))


def test_recbole_atomic_files(tmp_path):
    write(
        tmp_path,
        {
            "tiny.inter": (
                'user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t"q\t4\t20.0\nu2\tb\t3\t10\n'
            ),
            "tiny.item": 'item_id:token\ttitle:token_seq\tyear:token\n"q\tA "quote\t1999\nb\tBee\t2000\n',
            "tiny.user": "user_id:token\tage:token\nu1\t30\n",
            "tiny.net": "source_id:token\ttarget_id:token\nu1\tu2\n",
        },
    )
    dataset = Dataset.load(tmp_path)
    assert facts(dataset) == [("u2", "b", 3.0, 10), ("u1", '"q', 4.0, 20)]
    assert dict(zip(dataset.item_ids, dataset.items.text())) == {'"q': 'A "quote', "b": "Bee"}
    assert dataset.friends.shape == (2, 1) and dataset.name == "tiny"
    assert len(dataset.rejected) == 0
    write(tmp_path, {"tiny.item": "item_id:token\ttitle:text\nb\tBee\n"})
    with pytest.raises(UserError, match="tiny.item, line 1: 'title:text' is not name:type; types: token, token_seq"):
        Dataset.load(tmp_path)


def test_mmrec_folder(tmp_path):
    rows = ["userID itemID rating timestamp x_label", "0 2 5.0 30 2", "0 0 5.0 10 0", "0 1 5.0 20 1", "1 9 5 1 0"]
    write(tmp_path, {"baby.inter": "\n".join(rows).replace(" ", "\t")})
    np.save(tmp_path / "image_feat.npy", np.arange(1, 9, dtype=np.float32).reshape(4, 2))
    np.save(tmp_path / "text_feat.npy", np.arange(1, 5, dtype=np.float64).reshape(4, 1))
    dataset = Dataset.load(tmp_path)
    cut = split(dataset)
    parts = [[dataset.item_ids[item] for item in part.item] for part in (cut.train, cut.val, cut.test)]
    assert parts == [["0"], ["1"], ["2"]]
    assert sorted(dataset.item_ids) == ["0", "1", "2", "3"]  # 3 has content and no row
    for position, id in enumerate(dataset.item_ids):
        assert dataset.item_features["image"][position].tolist() == [2 * int(id) + 1, 2 * int(id) + 2]
        assert dataset.item_features["text"][position].tolist() == [int(id) + 1]
    assert dataset.rejected.rows() == [("baby.inter", 5, "item id is not in the items file", "9")]


MOVIELENS = {
    "latest": {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.0,20\n2,11,3.5,10\n",
        "movies.csv": 'movieId,title,genres\n10,"Café, The (1999)",Drama|War\n11,Heat (1995),Action\n',
        "tags.csv": "userId,movieId,tag,timestamp\n1,10,slow,5\n2,10,sad,6\n",
    },
    "1m": {
        "ratings.dat": "1::10::4.0::20\n2::11::3.5::10\n",
        "movies.dat": "10::Café, The (1999)::Drama|War\n11::Heat (1995)::Action\n".encode("latin-1"),
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    },
    "100k": {
        "u.data": "1\t10\t4.0\t20\n2\t11\t3.5\t10\n",
        "u.item": (
            "10|Café, The (1999)|01-Jan-1999||http://x|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|1|0\n"
            "11|Heat (1995)|01-Jan-1995||http://y|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        ).encode("latin-1"),
        "u.user": "1|24|M|technician|85711\n2|53|F|other|94043\n",
    },
}


@pytest.mark.parametrize("kind", MOVIELENS)
def test_movielens_folders(tmp_path, kind):
    dataset = Dataset.load(write(tmp_path, MOVIELENS[kind]))
    assert facts(dataset) == [("2", "11", 3.5, 10), ("1", "10", 4.0, 20)]
    text = dict(zip(dataset.item_ids, dataset.items.text()))
    assert text["11"] == "Heat (1995). Action"
    assert text["10"] == "Café, The (1999). Drama|War" + (". slow, sad" if kind == "latest" else "")
    assert len(dataset.rejected) == 0
    if kind == "100k":
        assert dict(zip(dataset.user_ids, dataset.users.text())) == {"1": "technician", "2": "other"}


def save_to_disk(folder: Path, columns: dict[str, list]) -> None:
    """What `datasets.Dataset.save_to_disk` leaves: Arrow streams and a state.json that names them."""
    folder.mkdir(parents=True)
    table = pa.table(columns)
    names = []
    for number, part in enumerate((table[:1], table[1:])):
        names.append({"filename": f"data-{number:05}-of-00002.arrow"})
        with pa.OSFile(str(folder / names[-1]["filename"]), "wb") as sink, pa.ipc.new_stream(sink, part.schema) as out:
            out.write_table(part)
    (folder / "state.json").write_text(json.dumps({"_data_files": names, "_split": None}))
    (folder / "dataset_info.json").write_text("{}")


def test_hugging_face_dataset_on_disk(tmp_path):
    root = tmp_path / "reviews"
    save_to_disk(root, {"user_id": ["a", "b", "a"], "parent_asin": [7, 8, 8], "rating": [5.0, 4.0, 1.0]})
    dataset = Dataset.load(root)
    assert facts(dataset) == [("a", "7", 5.0), ("b", "8", 4.0), ("a", "8", 1.0)]
    (root / "data-00001-of-00002.arrow").write_bytes(b"\xff\xff\xff\xff")
    with pytest.raises(UserError, match=r"data-00001-of-00002.arrow: not a whole Arrow file"):
        Dataset.load(root)
    (root / "state.json").write_text('{"_data_files": [{"filename": "../other.arrow"}]}')
    with pytest.raises(UserError, match="leaves the folder"):
        Dataset.load(root)


@pytest.mark.parametrize("split", ["../elsewhere", "{place}/elsewhere", "..", 5])
def test_a_part_of_a_hugging_face_dict_does_not_leave_its_folder(tmp_path, split):
    above = tmp_path / "above"
    root = above / "dict"
    for folder in (above, above / "elsewhere", root / "train"):
        save_to_disk(folder, {"user": ["a", "b"], "item": ["x", "y"]})
    name = split.format(place=above) if isinstance(split, str) else split
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", name]}))
    with pytest.raises(UserError, match=r"dataset_dict\.json: the split .* leaves the folder"):
        Dataset.load(root)


def test_hugging_face_dict_gives_the_split_and_a_description_names_columns(tmp_path):
    root = tmp_path / "dict"
    save_to_disk(root / "train", {"who": ["a", "b"], "what": ["x", "y"]})
    save_to_disk(root / "validation", {"who": ["a", "b"], "what": ["y", "x"]})
    (root / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    with pytest.raises(UserError, match=r"/dict/.: no column 'user': none of user, .* it has: who, what, split"):
        Dataset.load(root)
    toml = '[interactions]\npath = "dict"\nuser = "who"\nitem = "what"\nsplit = "split"\n'
    cut = split(Dataset.load(write(tmp_path, {"dataset.toml": toml})))
    assert (len(cut.train), len(cut.val), len(cut.test)) == (2, 2, 0)


ROWS = [("a", 1, 5.0, 20), ("b", 2, 4.0, 10), ("b", 1, None, 30), ("c", 1, 3.0, -5)]
QUERY = 'SELECT who AS "user", what AS item, rating, at AS timestamp FROM log ORDER BY what, who'
SQL_TOML = "[interactions]\nuri = '{uri}'\nquery = '{query}'\nrating = 'rating'\ntimestamp = 'timestamp'\n"


def check_sql(dataset: Dataset, name: str) -> None:
    assert facts(dataset) == [("b", "2", 4.0, 10), ("a", "1", 5.0, 20)]
    assert dataset.rejected.rows() == [
        (f"{name}: query", 2, "rating is no number", None),
        (f"{name}: query", 3, "negative timestamp", "-5"),
    ]


def test_sqlite(tmp_path):
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("CREATE TABLE log (who TEXT, what INTEGER, rating, at INTEGER)")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?)", ROWS)
    write(tmp_path, {"dataset.toml": SQL_TOML.format(uri="sqlite:///log.db", query=QUERY)})
    check_sql(Dataset.load(tmp_path), "log.db")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ('VACUUM INTO "{place}"', "allowed: SELECT from this file"),
        ('ATTACH "{place}" AS other', "allowed: SELECT from this file"),
        (
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x FROM n",
            "allowed: SELECT from this file",
        ),
        ("SELECT a.who, b.what FROM log a, log b, log c, log d", "rows in"),
    ],
)
def test_a_stranger_s_query_writes_nothing_and_fills_no_memory(tmp_path, monkeypatch, query, message):
    monkeypatch.setattr("gnnrec.untrusted.SMALL", 1)  # a bound that is reached in a moment
    place, data = tmp_path / "elsewhere.db", tmp_path / "data"
    data.mkdir()
    with sqlite3.connect(data / "log.db") as connection:
        connection.execute("CREATE TABLE log (who TEXT, what INTEGER, rating, at INTEGER)")
        connection.executemany("INSERT INTO log VALUES (?, 1, 5, 1)", [(str(number),) for number in range(60)])
    before = (data / "log.db").read_bytes()
    write(data, {"dataset.toml": SQL_TOML.format(uri="sqlite:///log.db", query=query.format(place=place))})
    with pytest.raises(UserError, match=message):
        Dataset.load(data)
    assert not place.exists() and (data / "log.db").read_bytes() == before
    assert {path.name for path in data.iterdir()} == {"log.db", "dataset.toml"}


@pytest.mark.parametrize(
    ("uri", "query", "message"),
    [
        ("sqlite:///log.db", "SELECT * FROM nowhere", "no such table: nowhere"),
        ("sqlite:///log.db", "DELETE FROM log", "allowed: SELECT from this file"),
        ("sqlite:///log.db", "SELECT who, who FROM log", "two columns have the same name"),
        ("sqlite:///../log.db", QUERY, "leaves the folder"),
        ("sqlite:///no.db", QUERY, "there is no file 'no.db'"),
        ("mysql://me:geheim@host/db", QUERY, "'mysql://host/db'; allowed: sqlite:///file.db and postgresql://"),
        ("postgresql://me:geheim@127.0.0.1:1/db", QUERY, "postgresql://127.0.0.1:1/db: "),
        ("postgresql://me:geheim@[::1/db", QUERY, "uri: not the address of a server"),
    ],
)
def test_databases_that_cannot_be_read(tmp_path, monkeypatch, uri, query, message):
    monkeypatch.setenv("GNNREC_DATABASE", "dbname=db host=127.0.0.1 port=1")
    with sqlite3.connect(tmp_path / "log.db") as connection:
        connection.execute("CREATE TABLE log (who TEXT, what INTEGER, rating, at INTEGER)")
        connection.execute("INSERT INTO log VALUES ('a', 1, 5, 1)")
    write(tmp_path, {"dataset.toml": SQL_TOML.format(uri=uri, query=query)})
    with pytest.raises(UserError) as raised:
        Dataset.load(tmp_path)
    assert message in str(raised.value) and "\n" not in str(raised.value) and "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/db", "dbname=db host=127.0.0.1 port=1"),
        ("postgresql://127.0.0.1:2?@127.0.0.1:1/db", "dbname=db host=127.0.0.1 port=1"),  # the @ makes it port 1
        ("postgresql:///db?host=/var/run&password=geheim", "dbname=db host=/var/run"),
    ],
)
def test_a_server_is_asked_only_where_the_environment_names_it(tmp_path, monkeypatch, uri, server):
    pytest.importorskip("psycopg")
    write(tmp_path, {"dataset.toml": SQL_TOML.format(uri=uri, query=QUERY)})
    for allowed in (None, "1", "dbname=db host=127.0.0.1 port=2"):
        monkeypatch.delenv("GNNREC_DATABASE", raising=False)
        if allowed:
            monkeypatch.setenv("GNNREC_DATABASE", allowed)
        with pytest.raises(UserError) as raised:
            Dataset.load(tmp_path)
        assert str(raised.value) == (
            f"{tmp_path}/dataset.toml: [interactions] uri: names a server, and servers are asked only with your leave: "
            f"set GNNREC_DATABASE='{server}'"
        )
    monkeypatch.setenv("GNNREC_DATABASE", f"dbname=other;{server}")
    with pytest.raises(UserError, match="onnection"):  # it is tried, and nobody answers
        Dataset.load(tmp_path)


def test_postgresql(tmp_path, monkeypatch, postgresql):
    psycopg = pytest.importorskip("psycopg")
    monkeypatch.setenv("GNNREC_DATABASE", f"dbname=postgres host={postgresql.partition('host=')[2]}")
    with psycopg.connect(postgresql) as connection:
        connection.execute("CREATE TABLE log (who text, what int, rating numeric, at bigint)")
        connection.cursor().executemany("INSERT INTO log VALUES (%s, %s, %s, %s)", ROWS)
    write(tmp_path, {"dataset.toml": SQL_TOML.format(uri=postgresql, query=QUERY)})
    check_sql(Dataset.load(tmp_path), "postgresql:///postgres")
    moments = QUERY.replace(" at AS", " to_timestamp(abs(at)) AS").replace("rating,", "coalesce(rating, 1) AS rating,")
    write(tmp_path, {"dataset.toml": SQL_TOML.format(uri=postgresql, query=moments)})
    assert [row[3] for row in facts(Dataset.load(tmp_path))] == [5, 10, 20, 30]
    for query, message in (("SELECT * FROM nowhere", "does not exist"), ("DELETE FROM log", "DELETE|read-only")):
        write(tmp_path, {"dataset.toml": SQL_TOML.format(uri=postgresql, query=query)})
        with pytest.raises(UserError, match=message):
            Dataset.load(tmp_path)
    with psycopg.connect(postgresql) as connection:
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (4,)
