"""What is right has to be read right: values, order, content, and the same from every format."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Dataset, SplitConfig, split
from gnnrec.errors import UserError

DATA = Path(__file__).parents[2] / "data"

LOG = "user,item,rating,timestamp\nb,x,4,30\na,x,5,10\na,y,1.5,20\nb,z,3,30\n"


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def facts(dataset: Dataset) -> list[tuple]:
    """Rows with external ids, in the order of the log."""
    log = dataset.interactions
    time = log.timestamp.tolist() if log.timestamp is not None else [None] * len(log)
    rating = log.rating.tolist() if log.rating is not None else [None] * len(log)
    users, items = (dataset.user_ids[u] for u in log.user), (dataset.item_ids[i] for i in log.item)
    return list(zip(users, items, rating, time))


EXPECTED = [("a", "x", 5.0, 10), ("a", "y", 1.5, 20), ("b", "x", 4.0, 30), ("b", "z", 3.0, 30)]
SECTION = '[interactions]\npath = "{}"\ntimestamp = "timestamp"\nrating = "rating"\n'


def parquet(folder: Path, name: str) -> None:
    frame = pl.read_csv(LOG.encode()).with_columns(pl.from_epoch("timestamp"))
    frame.write_parquet(folder / name)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.tsv", "log.tsv.gz", "log.parquet"])
def test_every_format_gives_the_same_log(tmp_path, name):
    text = (LOG.replace(",", "\t") if ".tsv" in name else LOG).encode()
    if name.endswith(".parquet"):
        parquet(tmp_path, name)
    else:
        write(tmp_path, {name: gzip.compress(text) if name.endswith(".gz") else text})
    write(tmp_path, {"dataset.toml": SECTION.format(name)})
    dataset = Dataset.load(tmp_path)
    assert facts(dataset) == EXPECTED
    assert len(dataset.rejected) == 0
    assert (dataset.name, dataset.split.method) == (tmp_path.name, "auto")


@pytest.mark.parametrize(
    "text", [LOG.replace("\n", "\r\n"), "\ufeff" + LOG, LOG.rstrip("\n"), LOG.replace("b,x", '"b","x"'), LOG + "\n\n"]
)
def test_line_ends_marks_quotes_and_blank_lines_change_nothing(tmp_path, text):
    write(tmp_path, {"log.csv": text, "dataset.toml": SECTION.format("log.csv")})
    dataset = Dataset.load(tmp_path)
    assert facts(dataset) == EXPECTED
    assert len(dataset.rejected) == 0


def test_catalogues_stand_in_index_order_with_text_media_features_and_friends(tmp_path):
    toml = (
        '[interactions]\npath = "log.csv"\n[items]\npath = "items.csv"\nid = "id"\ntext = ["title", "about"]\n'
        'image = "cover"\n[users]\npath = "users.csv"\ntext = "bio"\nfriends = "friends.csv"\n'
        '[features.image]\npath = "image.npy"\n[features.user.text]\npath = "bio.npy"\n'
    )
    items = 'id,title,about,cover\nx,Ex,"two\nlines",c/x.png\ny,,,\ncold,Cold,,\n'
    write(
        tmp_path,
        {
            "dataset.toml": toml,
            "log.csv": "user,item\na,x\nb,x\nb,y\n",
            "items.csv": items,
            "c/x.png": b"not looked into",
            "users.csv": "user,bio\nb,I am b\nlurker,I only read\n",
            "friends.csv": "who,whom\na,b\nb,a\nlurker,a\n",
        },
    )
    np.save(tmp_path / "image.npy", np.array([[1, 2], [0, 0], [np.nan, np.nan]]))
    np.save(tmp_path / "bio.npy", np.array([[7.0], [8.0]]))
    dataset = Dataset.load(tmp_path)
    assert sorted(dataset.item_ids) == ["cold", "x", "y"] and sorted(dataset.user_ids) == ["a", "b", "lurker"]
    text = dict(zip(dataset.item_ids, dataset.items.text()))
    assert text == {"x": "Ex. two\nlines", "y": None, "cold": "Cold"}
    image = dict(zip(dataset.item_ids, dataset.items.media["image"]))
    assert image == {"x": tmp_path / "c/x.png", "y": None, "cold": None}
    bio = dict(zip(dataset.user_ids, dataset.users.text()))
    assert bio == {"a": None, "b": "I am b", "lurker": "I only read"}
    assert dataset.users.table["user"].to_list() == list(dataset.user_ids)
    features = dict(zip(dataset.item_ids, dataset.item_features["image"].tolist()))
    assert features["x"] == [1.0, 2.0] and np.isnan(features["y"]).all() and np.isnan(features["cold"]).all()
    ours = dict(zip(dataset.user_ids, dataset.user_features["text"][:, 0].tolist()))
    assert (ours["b"], ours["lurker"]) == (7.0, 8.0) and np.isnan(ours["a"])
    pairs = {frozenset(dataset.user_ids[user] for user in pair) for pair in dataset.friends.T}
    assert pairs == {frozenset("ab"), frozenset(("a", "lurker"))} and dataset.friends.shape == (2, 2)
    assert len(dataset.rejected) == 0


def test_min_rating_leaves_rows_out_and_counts_them(tmp_path):
    write(tmp_path, {"log.csv": LOG, "dataset.toml": SECTION.format("log.csv") + "min_rating = 4\n"})
    dataset = Dataset.load(tmp_path)
    assert facts(dataset) == [EXPECTED[0], EXPECTED[2]]
    assert (dataset.below_min_rating, len(dataset.rejected)) == (2, 0)


@pytest.mark.parametrize(
    ("ratings", "more", "scale"),
    [
        (("4.7", "0.1", "3"), "", (0.1, 4.7)),
        (("4.7", "0.1", "3"), "min_rating = 2\n", (0.1, 4.7)),
        (("1", "0", "0.5"), "min_rating = 0.6\n", (0.0, 1.0)),  # what is kept are ones alone
        (("1", "1", "1"), "", None),
    ],
)
def test_the_scale_of_ratings_has_those_that_min_rating_left_out(tmp_path, ratings, more, scale):
    rows = [f"a,{item},{rating},{at}" for at, (item, rating) in enumerate(zip("xyz", ratings))]
    log = "\n".join(["user,item,rating,timestamp", *rows]) + "\n"
    write(tmp_path, {"log.csv": log, "dataset.toml": SECTION.format("log.csv") + more})
    assert Dataset.load(tmp_path).rating_scale == scale


def test_a_log_without_ratings_has_no_scale(tmp_path):
    toml = '[interactions]\npath = "log.csv"\n'
    write(tmp_path, {"log.csv": "user,item\na,x\nb,y\n", "dataset.toml": toml})
    assert Dataset.load(tmp_path).rating_scale is None


def test_published_split_is_the_default_whatever_the_section_says(tmp_path):
    log = "user,item,part\na,x,train\na,y,Validation\na,z,test\na,w,\n"
    toml = '[interactions]\npath = "log.csv"\nsplit = "part"\n[split]\nmethod = "random"\nseed = 3\n'
    write(tmp_path, {"log.csv": log, "dataset.toml": toml})
    dataset = Dataset.load(tmp_path)
    assert dataset.published_split.tolist() == [0, 1, 2, -1]
    assert (dataset.split.method, dataset.split.seed) == ("published", 3)
    assert [len(part) for part in (split(dataset).train, split(dataset).val, split(dataset).test)] == [1, 1, 1]


def test_whole_floats_in_parquet_are_the_ids_they_were(tmp_path):
    pl.DataFrame({"user": [1.0, 2.0], "item": [7, 8]}).write_parquet(tmp_path / "log.parquet")
    write(tmp_path, {"dataset.toml": '[interactions]\npath = "log.parquet"\n'})
    dataset = Dataset.load(tmp_path)
    assert {row[:2] for row in facts(dataset)} == {("1", "7"), ("2", "8")}


def test_the_order_of_rows_leaks_neither_into_indexes_nor_into_splits(tmp_path):
    random = np.random.default_rng(0)
    pairs = [(user, item) for user in range(30) for item in random.permutation(40)[:12]]
    times = random.permutation(len(pairs))
    rows = [f"{user},{item},{time}" for (user, item), time in zip(pairs, times)]
    catalogue = [f"{item},title {item}" for item in range(40)]
    toml = (
        '[interactions]\npath = "log.csv"\ntimestamp = "timestamp"\n[items]\npath = "items.csv"\ntext = "title"\n'
        '[features.text]\npath = "text.npy"\n'
    )
    loaded = []
    for name in ("one", "two"):
        features = np.array([[float(line.split(",")[0]) + 1] for line in catalogue])
        log = "\n".join(["user,item,timestamp", *rows])
        files = {"dataset.toml": toml, "log.csv": log, "items.csv": "\n".join(["item,title", *catalogue])}
        np.save(write(tmp_path / name, files) / "text.npy", features)
        loaded.append(Dataset.load(tmp_path / name))
        random.shuffle(rows)
        random.shuffle(catalogue)
    one, two = loaded
    assert one.user_ids == two.user_ids and one.item_ids == two.item_ids
    assert one.items.text() == two.items.text()
    assert np.array_equal(one.item_features["text"], two.item_features["text"])
    for method in ("leave_last", "user_time", "global_time", "random"):
        cuts = [split(dataset, SplitConfig(method=method)) for dataset in loaded]
        for part in ("train", "val", "test"):
            logs = [getattr(cut, part) for cut in cuts]
            assert np.array_equal(logs[0].user, logs[1].user) and np.array_equal(logs[0].item, logs[1].item)


def test_indexes_follow_neither_the_ids_nor_the_file(tmp_path):
    log = "user,item\n" + "".join(f"{number:04},{number:04}\n" for number in range(500))
    write(tmp_path, {"log.csv": log, "dataset.toml": '[interactions]\npath = "log.csv"\n'})
    order = np.array([int(id) for id in Dataset.load(tmp_path).item_ids])
    assert abs(np.corrcoef(order, np.arange(500))[0, 1]) < 0.15


def test_shipped_data_is_whole():
    movies, music = (Dataset.load(DATA / name) for name in ("movies", "music"))
    assert (len(movies.user_ids), len(movies.item_ids), len(movies.interactions)) == (610, 3_650, 90_274)
    assert sum(path is not None for path in movies.items.media["image"]) == 3_627
    assert len(music.item_ids) == 400 and all(music.items.media["audio"])
    assert len(music.interactions) + music.below_min_rating == 7_667
    assert len(movies.rejected) == len(music.rejected) == 0
    for name in ("movies", "music"):
        assert "Cite" in (DATA / name / "LICENCE.md").read_text()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[interactions\n", "not valid TOML"),
        ('name = "x"\n', "no section [interactions]"),
        ('nam = "x"\n[interactions]\npath = "log.csv"\n', "unknown key 'nam'; allowed: name, licence, interactions"),
        ('[interactions]\npath = "log.csv"\nusr = "u"\n', "[interactions] unknown key 'usr'; allowed: path, uri"),
        ("[interactions]\npath = 3\n", "[interactions] path: 3 is not a string"),
        ('[interactions]\nuser = "u"\n', "needs either path, or uri and query"),
        ('[interactions]\npath = "log.csv"\nmin_rating = true\n', "min_rating: True is not a number"),
        ('[interactions]\npath = "log.csv"\nmin_rating = 3\n', "min_rating: needs rating"),
        ('[interactions]\npath = "log.csv"\n[split]\nmethod = "kfold"\n', "'kfold'; allowed: auto, published"),
        ('[interactions]\npath = "log.csv"\n[split]\nseed = 1.5\n', "[split] seed: 1.5 is not a whole number"),
        ('[interactions]\npath = "log.csv"\n[items]\npath = "log.csv"\ntext = [1]\n', "is not a string or a list"),
        ('[interactions]\npath = "log.csv"\n[items]\npath = "log.csv"\nfriends = "f.csv"\n', "unknown key 'friends'"),
        ('[interactions]\npath = "log.csv"\n[features.image]\nfile = "i.npy"\n', "'file'; allowed: path"),
        ('[interactions]\npath = "log.json"\n', "allowed are .csv, .csv.gz"),
    ],
)
def test_a_wrong_description_is_told_in_one_line(tmp_path, toml, message):
    write(tmp_path, {"log.csv": LOG, "log.json": "{}", "dataset.toml": toml})
    with pytest.raises(UserError) as raised:
        Dataset.load(tmp_path)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_no_dataset_is_told(tmp_path):
    with pytest.raises(UserError, match="nothing to read in it; a dataset is one of: a folder with dataset.toml"):
        Dataset.load(tmp_path)
    with pytest.raises(UserError, match="not there"):
        Dataset.load(tmp_path / "no")
