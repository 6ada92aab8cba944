"""Bad input: one clear line, or a row set aside with file, line, reason and value."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError

TOML = (
    '[interactions]\npath = "log.csv"\ntimestamp = "timestamp"\nrating = "rating"\n'
    '[items]\npath = "items.csv"\ntext = "title"\nimage = "cover"\n'
)
HEADER = "user,item,rating,timestamp\n"
GOOD = "a,x,5,10\nb,y,4,20\n"
ITEMS = "item,title,cover\nx,Ex,\ny,Why,\n"


def folder(root: Path, log: str | bytes = HEADER + GOOD, items: str | bytes = ITEMS, toml: str = TOML) -> Path:
    for name, content in {"log.csv": log, "items.csv": items, "dataset.toml": toml}.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def error_of(root: Path) -> str:
    """The one line, without the folder that it begins with."""
    with pytest.raises(UserError) as raised:
        Dataset.load(root)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(f"{root}/")
    return str(raised.value).removeprefix(f"{root}/")


def rejected(root: Path) -> list[tuple]:
    return Dataset.load(root).rejected.rows()


def test_missing_column(tmp_path):
    message = error_of(folder(tmp_path, log="who,item,rating,timestamp\n" + GOOD))
    assert message == "log.csv: no column 'user' ([interactions] user); it has: who, item, rating, timestamp"
    message = error_of(folder(tmp_path, items="item,name,cover\nx,Ex,\n"))
    assert message == "items.csv: no column 'title' ([items] text 'title'); it has: item, name, cover"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress((HEADER + GOOD * 500).encode())[:-60], "log.csv.gz: broken gzip"),
        (b"\x1f\x8b\x08" + bytes(40), "log.csv.gz: broken gzip"),
        ((HEADER + GOOD).encode(), "log.csv.gz: not a gzip file in spite of its name"),
        (gzip.compress(b""), "log.csv.gz: the file is empty"),
        (b"", "log.csv.gz: the file is empty"),
    ],
    # Names of their own: gzip writes the time into its header, so that the bytes differ between two test processes.
    ids=["cut short", "no deflate stream", "plain text", "nothing inside", "no bytes"],
)
def test_broken_gzip(tmp_path, content, message):
    folder(tmp_path, toml=TOML.replace("log.csv", "log.csv.gz"))
    (tmp_path / "log.csv.gz").write_bytes(content)
    assert message in error_of(tmp_path)


def test_flipped_byte_in_gzip(tmp_path):
    packed = bytearray(gzip.compress((HEADER + GOOD * 500).encode()))
    packed[-6] ^= 0xFF  # the checksum
    folder(tmp_path, toml=TOML.replace("log.csv", "log.csv.gz"))
    (tmp_path / "log.csv.gz").write_bytes(bytes(packed))
    assert "broken gzip" in error_of(tmp_path)


def test_empty_file_and_header_only(tmp_path):
    assert error_of(folder(tmp_path, log="")) == "log.csv: the file is empty"
    assert error_of(folder(tmp_path, log="\n\n")) == "log.csv: the file is empty"
    assert error_of(folder(tmp_path, log=HEADER)) == "log.csv: there is no row in it, only a header"
    assert error_of(folder(tmp_path, items="item,title,cover")) == "items.csv: there is no row in it, only a header"


def test_the_same_column_twice(tmp_path):
    assert "column 'user' is there twice" in error_of(folder(tmp_path, log="user,user,item\na,b,c\n"))


@pytest.mark.parametrize(
    ("row", "reason", "value"),
    [
        ("a,unknown,5,10", "item id is not in the items file", "unknown"),
        ("a,x,5,NaN", "timestamp is no number of unix seconds", "NaN"),
        ("a,x,5,", "timestamp is no number of unix seconds", None),
        ("a,x,5,inf", "timestamp is no number of unix seconds", "inf"),
        ("a,x,5,2020-01-01", "timestamp is no number of unix seconds", "2020-01-01"),
        ("a,x,5,-7", "negative timestamp", "-7"),
        ("a,x,5,1600000000000", "timestamp after the year 2100: milliseconds instead of seconds?", "1600000000000"),
        ("a,x,nan,10", "rating is no number", "nan"),
        ("a,x,good,10", "rating is no number", "good"),
        (",x,5,10", "empty user id", None),
        ("a,  ,5,10", "empty item id", None),
        ("b,y,4,20", "duplicate: same user, item and time as a row before", "b,y"),
        ("a,x,5", "3 fields where the header has 4", "a,x,5"),
        ("a,x,5,10,6", "5 fields where the header has 4", "a,x,5,10,6"),
    ],
)
@pytest.mark.parametrize("quoted", [False, True], ids=["unquoted", "quoted"])  # by Polars, by the csv module
def test_one_bad_row_is_set_aside_with_its_line(tmp_path, row, reason, value, quoted):
    good = GOOD.replace("b,y", '"b","y"') if quoted else GOOD
    dataset = Dataset.load(folder(tmp_path, log=HEADER + good + row + "\n" + "c,x,1,30\n"))
    assert dataset.rejected.rows() == [("log.csv", 4, reason, value)]
    assert len(dataset.interactions) == 3


def test_a_long_row_and_a_short_row_do_not_hide_each_other(tmp_path):
    log = HEADER + "a,x,5,10,extra\nb,y,4\nb,x,4,20\n"
    lines = [(line, reason[:8]) for _, line, reason, _ in rejected(folder(tmp_path, log=log))]
    assert lines == [(2, "5 fields"), (3, "3 fields")]


def test_lines_are_counted_through_quoted_newlines_and_blank_lines(tmp_path):
    log = 'user,item,rating,timestamp,note\na,x,5,10,"one\ntwo\nthree"\n\nb,y,bad,20,\nb,x,3,-1,"a\nb"\n'
    assert [(line, value) for _, line, _, value in rejected(folder(tmp_path, log=log))] == [(6, "bad"), (7, "-1")]


def test_a_quote_that_is_never_closed_names_the_lines_it_ate(tmp_path):
    rows = rejected(folder(tmp_path, log=HEADER + GOOD + 'a,"y,1,30\nb,x,2,40\nb,x,2,50\n'))
    assert rows[0][:2] == ("log.csv", 4) and "over 3 lines (a quote that is not closed?)" in rows[0][2]
    message = error_of(folder(tmp_path, log=HEADER + GOOD + 'a,"y,1,30\n' + "b,x,2,40\n" * 20_000))
    assert message.startswith("log.csv, line 4: field larger") and message.endswith("never closed?")


def test_a_byte_that_is_not_utf8(tmp_path):
    log = (HEADER + GOOD).encode() + b"caf\xe9,x,5,30\n"
    assert rejected(folder(tmp_path, log=log)) == [("log.csv", 4, "not UTF-8", "caf\ufffd,x,5,30")]
    items = ITEMS.encode() + "z,naïve,\n".encode("latin-1")
    assert rejected(folder(tmp_path, items=items))[0][:3] == ("items.csv", 4, "not UTF-8")
    assert "UTF-16" in error_of(folder(tmp_path, log=(HEADER + GOOD).encode("utf-16")))


def test_non_ascii_utf8_is_fine(tmp_path):
    dataset = Dataset.load(folder(tmp_path, log=HEADER + GOOD + "用户,x,5,30\n"))
    assert "用户" in dataset.user_ids and len(dataset.rejected) == 0


def test_when_no_row_is_left_the_most_frequent_reason_is_told(tmp_path):
    message = error_of(folder(tmp_path, log=HEADER + "a,x,5,1600000000000\nb,y,5,1600000000001\nb,y,?,3\n"))
    assert message == (
        "log.csv: no usable row is left; most often: timestamp after the year 2100: milliseconds instead of seconds? "
        "(2 rows, first in log.csv, line 2: '1600000000000')"
    )
    message = error_of(folder(tmp_path, items="item,title,cover\nother,Other,\n"))
    assert "item id is not in the items file (2 rows" in message
    message = error_of(folder(tmp_path, toml=TOML.replace("[items]", "min_rating = 9\n[items]")))
    assert message == "log.csv: no row reaches [interactions] min_rating 9; 2 good rows below it"
    message = error_of(
        folder(tmp_path, log=HEADER + "a,x,5,10\na,y,?,10\nb,y,?,20\n", items="item,title,cover\ny,Y,\n")
    )
    assert message.startswith("log.csv: no usable row is left; most often: rating is no number (2 rows, first in")
    message = error_of(folder(tmp_path, log=HEADER + "a,x,?,10\n"))
    assert "rating is no number (1 row, first in log.csv, line 2: '?')" in message


def test_an_error_names_the_folder_as_it_was_typed(tmp_path, monkeypatch):
    folder(tmp_path, toml="[interactions\n")
    monkeypatch.chdir(tmp_path.parent)
    for typed, place in (
        (tmp_path.name, f"{tmp_path.name}/dataset.toml"),
        (f"./{tmp_path.name}/", f"{tmp_path.name}/dataset.toml"),
        (str(tmp_path), f"{tmp_path}/dataset.toml"),
    ):
        with pytest.raises(UserError) as raised:
            Dataset.load(typed)
        assert str(raised.value).startswith(f"{place}: not valid TOML")


def test_bad_catalogue_rows(tmp_path):
    rows = rejected(folder(tmp_path, items=ITEMS + ",Nameless,\nx,Again,\n"))
    assert rows == [("items.csv", 4, "empty id", None), ("items.csv", 5, "the id is there already", "x")]
    assert dict(zip(*(lambda d: (d.item_ids, d.items.titles()))(Dataset.load(tmp_path))))["x"] == "Ex"


def test_unknown_split_word(tmp_path):
    toml = '[interactions]\npath = "log.csv"\nsplit = "split"\n'
    rows = rejected(folder(tmp_path, log="user,item,split\na,x,train\na,y,tset\n", toml=toml))
    assert rows == [("log.csv", 3, "split is none of train, val, test", "tset")]


def test_media_paths_that_are_missing_folders_or_lead_outside(tmp_path):
    root = tmp_path / "set"
    (root / "c").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "c/good.png").write_bytes(b"x")
    (root / "c/link.png").symlink_to(tmp_path / "secret.png")
    (root / "c/inner.png").symlink_to("good.png")
    (root / "c/loop.png").symlink_to("loop.png")
    covers = {
        "x": ("c/good.png", None),
        "y": ("c/none.png", "no such file"),
        "i3": ("../secret.png", "path leaves the folder of the dataset"),
        "i4": (str(tmp_path / "secret.png"), "path leaves the folder of the dataset"),
        "i5": ("c/link.png", "path leaves the folder of the dataset"),
        "i6": ("c", "path is a folder"),
        "i7": ("c/inner.png", None),
        "i8": ("n" * 5_000, "no such file"),
        "i9": ("c/loop.png", "no such file"),
    }
    items = "item,title,cover\n" + "".join(f"{id},t,{path}\n" for id, (path, _) in covers.items())
    dataset = Dataset.load(folder(root, items=items))
    wrong = [(2 + row, reason) for row, (_, reason) in enumerate(covers.values()) if reason]
    assert [(line, reason) for _, line, reason, _ in dataset.rejected.rows()] == wrong
    image = dict(zip(dataset.item_ids, dataset.items.media["image"]))
    assert {id for id, path in image.items() if path} == {"x", "i7"}
    assert len(image) == 9  # the items themselves stay


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/hostname", "link.csv"])
def test_a_table_that_leads_outside(tmp_path, name):
    root = tmp_path / "set"
    root.mkdir()
    (tmp_path / "outside.csv").write_text(HEADER + GOOD)
    (root / "link.csv").symlink_to(tmp_path / "outside.csv")
    message = error_of(folder(root, toml=TOML.replace("log.csv", name)))
    assert message.startswith(f"dataset.toml: [interactions] path: {name!r} leaves the folder of the dataset")


def test_a_table_that_is_missing_or_a_folder(tmp_path):
    folder(tmp_path, toml=TOML.replace("log.csv", "no.csv"))
    assert error_of(tmp_path).startswith("dataset.toml: [interactions] path: there is no file 'no.csv'")
    (tmp_path / "no.csv").mkdir()
    assert error_of(tmp_path) == "no.csv: is a folder; a file is needed here"


def test_a_parquet_file_that_is_none(tmp_path):
    folder(tmp_path, toml=TOML.replace("log.csv", "log.parquet"))
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and then nothing")
    assert error_of(tmp_path).startswith("log.parquet: not a whole Parquet file")
    pl.DataFrame({"user": [["a"]], "item": ["x"], "rating": [1], "timestamp": [1]}).write_parquet(
        tmp_path / "log.parquet"
    )
    assert "column 'user' holds List(String)" in error_of(tmp_path)


FEATURES = TOML + '[features.image]\npath = "image.npy"\n'


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 4)), "image.npy: 3 rows, but items.csv has 2; row r belongs to row r"),
        (np.ones(2), "image.npy: a matrix of numbers"),
        (np.array([["a"], ["b"]]), "image.npy: a matrix of numbers"),
        (np.array([[{}], [{}]], dtype=object), "image.npy: not a readable .npy file"),
    ],
)
def test_features_that_do_not_fit(tmp_path, values, message):
    np.save(folder(tmp_path, toml=FEATURES) / "image.npy", values, allow_pickle=True)
    assert message in error_of(tmp_path)


def test_features_follow_the_rows_of_the_file_past_rejected_ones(tmp_path):
    items = "item,title,cover\nx,Ex,\nbroken,row\ny,Why,\n"
    values = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, np.inf]])
    np.save(folder(tmp_path, items=items, toml=FEATURES) / "image.npy", values)
    dataset = Dataset.load(tmp_path)
    rows = dict(zip(dataset.item_ids, dataset.item_features["image"].tolist()))
    assert rows["x"] == [1.0, 1.0] and np.isnan(rows["y"]).all()
    assert dataset.rejected.filter(pl.col("file") == "image.npy")["line"].to_list() == [3]


def test_features_without_a_catalogue(tmp_path):
    toml = '[interactions]\npath = "log.csv"\n[features.image]\npath = "image.npy"\n'
    np.save(folder(tmp_path, toml=toml) / "image.npy", np.ones((2, 2)))
    assert error_of(tmp_path).startswith("dataset.toml: [features.image]: needs [items]")


def test_bad_friends(tmp_path):
    folder(tmp_path, toml=TOML + '[users]\nfriends = "friends.csv"\n')
    (tmp_path / "friends.csv").write_text("user,friend\na,b\na,stranger\na,a\n")
    rows = rejected(tmp_path)
    assert [(line, value) for _, line, _, value in rows] == [(3, "a,stranger"), (4, "a,a")]
