"""An id is found in whatever it is packed, and a short one only where ids of users stand."""

import gzip
import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from gnnrec.privacy.erase import without_records
from gnnrec.privacy.search import Needle, find_id

LONG = "wanda-7f3q"


def packed(folder, name, user):
    path = folder / name
    kind = name.partition(".")[2]
    if kind == "parquet":
        pl.DataFrame({"user": ["a", user], "embedding": [[1.0], [2.0]]}).write_parquet(path)
    elif kind == "safetensors":
        save_file({"users.ids": np.frombuffer(json.dumps(["a", user]).encode(), dtype=np.uint8)}, path)
    else:
        text = {
            "csv.gz": f'item,user\ni1,a\ni2,"{user}"\n',
            "tsv": f"user\titem\n{user}\ti2\n",
            "inter": f"user:token\titem:token\n{user}\ti2\n",
            "jsonl": f'{{"user": "a"}}\n{{"user": "{user}"}}\n',
            "ids.json": json.dumps(["a", user]),
        }[kind].encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("user", [LONG, "1"])
@pytest.mark.parametrize(
    "name", ["log.parquet", "log.csv.gz", "log.tsv", "log.inter", "told.jsonl", "users.ids.json", "x.safetensors"]
)
def test_an_id_is_found_where_it_stands(tmp_path, name, user):
    path = packed(tmp_path, name, user)
    assert find_id(Needle(user), [tmp_path]) == ([path], 1)
    assert find_id(Needle("2" if user == "1" else "other-9f3q"), [tmp_path]) == ([], 1)


def test_a_short_id_is_no_number_or_item(tmp_path):
    pl.DataFrame({"user": ["a"], "item": ["1"], "rating": [1]}).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "log.csv").write_text("user,item,rating\na,1,1\n")
    (tmp_path / "items.ids.json").write_text('["1"]')
    (tmp_path / "metrics.json").write_text('{"epochs": 1, "best": "1"}')
    assert find_id(Needle("1"), [tmp_path])[0] == []


@pytest.mark.parametrize("name", ["notes.bin", "report.html", f"{LONG}.png"])
def test_a_long_id_is_found_in_any_bytes_and_names(tmp_path, name):
    content = b"" if LONG in name else b"\0\1" + LONG.encode() + b"\xff"
    (tmp_path / name).write_bytes(content)
    (tmp_path / "other.parquet").write_bytes(b"no table at all")
    assert [path.name for path in find_id(Needle(LONG), [tmp_path])[0]] == [name]


def test_records_go_and_every_other_byte_stays():
    table = b'\xef\xbb\xbfuser,text\r\n1,"two\r\nlines, a ""quote"""\r\n 1 ,x\n11,\xff\r\n\r\n2,"1"'
    kept = b'\xef\xbb\xbfuser,text\r\n11,\xff\r\n\r\n2,"1"'
    assert without_records(table, ",", ["user"], {"1"}) == kept
    assert without_records(table, ",", ["user"], {"3"}) == table
    assert without_records(b"a\tb\n1\t2\n2\t1\n3\t4\n", "\t", (), {"1"}) == b"a\tb\n3\t4\n"
