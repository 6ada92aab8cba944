import json

import numpy as np
import pytest

from gnnrec.inspect import inspect_folder
from gnnrec.inspect.facts import rating_bars

LOG = "user,item,rating,timestamp\na,x,5,0\na,y,1,86400\na,z,1,90000\nb,x,1,90001\nb,x,1,172800\n"
BAD = "a,y,1,noon\n,y,1,5\nb,y,2,late\n"


@pytest.fixture
def written(tmp_path):
    (tmp_path / "log.csv").write_text(LOG + BAD)
    (tmp_path / "items.csv").write_text("item,title\nx,First\ny,\nz,Third\nw,Nobody's\n")
    (tmp_path / "dataset.toml").write_text(
        '[interactions]\npath = "log.csv"\nrating = "rating"\ntimestamp = "timestamp"\n'
        '[items]\npath = "items.csv"\ntext = ["title"]\n'
    )
    return tmp_path


def test_a_dataset_is_counted_by_hand(written):
    facts, pictures = inspect_folder(written)
    log = facts["log"]
    assert (log["users"], log["items"], log["interactions"]) == (2, 4, 5)
    assert log["repeated_pairs"] == 1
    assert log["density"] == 4 / 8
    assert log["interactions_of_a_user"] == {"least": 2, "median": 2, "mean": 2.5, "most": 3}
    assert log["items_without_any"] == 1
    assert (log["first"], log["last"], log["days"]) == ("1970-01-01T00:00:00+00:00", "1970-01-03T00:00:00+00:00", 2)
    assert facts["ratings"] == [
        {"rating": "1", "rows": 4, "share": pytest.approx(0.8)},
        {"rating": "5", "rows": 1, "share": pytest.approx(0.2)},
    ]
    (content,) = facts["content"]
    assert (content["modality"], content["rows"], content["present"]) == ("text", 4, 3)
    assert pictures == []
    json.dumps(facts, allow_nan=False)


def test_rejected_rows_are_grouped_with_their_lines(written):
    groups = inspect_folder(written)[0]["set_aside"]
    assert sorted((group["rows"], group["first_lines"]) for group in groups) == [(1, [8]), (2, [7, 9])]
    assert groups[0]["values"] == ["noon", "late"]


def test_the_default_split_is_marked(tiny_data, planted_folder):
    for folder, default in ((tiny_data, "leave_last"), (planted_folder, "published")):
        splits = inspect_folder(folder)[0]["splits"]
        assert [row["method"] for row in splits if row["default"]] == [default]
        assert {row["method"] for row in splits} >= {default, "random"}


def test_a_method_that_cannot_cut_the_log_says_so_in_its_row(written):
    one_moment = "".join(f"{user},{item},5,0\n" for user in "abcdefg" for item in ("x", "y"))
    (written / "log.csv").write_text(f"user,item,rating,timestamp\n{one_moment}")
    facts, _ = inspect_folder(written)
    assert {row["method"] for row in facts["splits"]} == {"leave_last", "user_time", "global_time", "random"}
    found = {row["method"]: (row["train"], row["remark"]) for row in facts["splits"]}
    assert found["leave_last"] == (14, None)
    assert found["global_time"][0] is None and found["global_time"][1].endswith("to train on")


def test_many_kinds_of_ratings_are_counted_in_bins():
    rating = np.arange(100, dtype=np.float32)
    bars = rating_bars(rating)
    assert [bar["rows"] for bar in bars] == [10] * 10
    assert bars[0]["rating"] == "0 to 9.9"


def test_a_run_is_described(tiny_runs, tiny_run):
    facts, _ = inspect_folder(tiny_runs["default"])
    nodes = {row["node_type"]: row for row in facts["graph_nodes"]}
    assert {name: (row["nodes"], row["dimensions"]) for name, row in nodes.items()} == {
        "user": (40, None),
        "item": (32, None),
        "text": (32, 6),
        "image": (32, 4),
    }
    assert (nodes["image"]["filled_in"], nodes["text"]["filled_in"]) == (1, 0)  # i5 has no picture
    edges = {(row["source"], row["relation"], row["target"]): row for row in facts["graph_edges"]}
    assert edges["user", "interacts", "item"]["edges"] == len(tiny_run.train) == 40 * 7
    assert edges["item", "rev_interacts", "user"]["mean_degree"] == 7
    assert facts["settings"]["model.dim"] == 8
    assert facts["validation"] == json.loads((tiny_runs["default"] / "metrics.json").read_text())["metrics"]
    weights = facts["modality_weights"]
    assert set(weights) == {"text", "image"}
    assert sum(weights.values()) == pytest.approx(1)
    assert facts["provenance"]["items_text"] == "given"
    json.dumps(facts, allow_nan=False)
    assert inspect_folder(tiny_runs["popularity"])[0]["modality_weights"] == {}
