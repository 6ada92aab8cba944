import json

import numpy as np
import pytest
import torch
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.facts import rating_bars
from gnnrec.graph import owners
from gnnrec.inspection import inspect_folder
from gnnrec.neighbourhood import MOST_NODES, neighbourhood

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


def test_a_log_that_no_method_can_cut_is_still_described(written):
    (written / "log.csv").write_text("user,item,rating,timestamp\na,x,5,0\nb,y,1,0\n")
    facts, _ = inspect_folder(written)
    assert facts["log"]["interactions"] == 2
    assert "splits" in facts


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


def test_pictures_are_written(tiny_data, tiny_runs, tmp_path):
    _, of_data = inspect_folder(tiny_data, tmp_path / "data")
    assert [path.stem for path in of_data] == ["long_tail", "activity", "ratings", "time"]
    _, of_run = inspect_folder(tiny_runs["default"], tmp_path / "run", "u7")
    assert [path.stem for path in of_run] == ["long_tail", "activity", "ratings", "time", "training", "neighbourhood"]
    for path in of_data + of_run:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(1 << 20)) > 10  # something is drawn
    assert sorted(of_run) == sorted((tmp_path / "run").iterdir())


def test_a_neighbourhood_holds_what_the_graph_holds(tiny_run):
    network = neighbourhood(tiny_run, "u7")
    user, graph = ("user", tiny_run.user_ids.index("u7")), tiny_run.known_graph
    rows = np.flatnonzero(tiny_run.known.user == user[1])
    last = [("item", int(item)) for item in tiny_run.known.item[rows[::-1][:5]]]
    assert set(network.predecessors(user)) == set(last)
    assert [network.nodes[node]["label"] for node in last] == [f"Title {tiny_run.item_ids[i][1:]}" for _, i in last]
    assert 25 < len(network) <= MOST_NODES
    similar = [
        (source, target, weight) for source, target, weight in network.edges(data="weight") if weight is not None
    ]
    assert similar
    for (modality, source), (_, target), weight in similar:
        unit = torch.nn.functional.normalize(graph[modality].x, dim=1)
        known = (~graph[modality].imputed).nonzero().flatten()
        cosine = unit[known] @ unit[target]
        cosine[known == target] = -1
        assert known[cosine.argmax()] == source
        assert weight == pytest.approx(float(cosine.max()), abs=1e-5)
        behind = ("item", int(owners(graph, modality)[source]))
        assert network.has_edge(behind, (modality, source)) or network.has_edge((modality, source), behind)
    assert all("place" in network.nodes[node] for node in network)


def test_without_content_the_neighbours_are_taken_together(tiny_data, tmp_path):
    from gnnrec.pipeline import train
    from gnnrec.recipe import load_recipe

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "log.csv").write_bytes((tiny_data / "log.csv").read_bytes())
    (tmp_path / "data" / "dataset.toml").write_text('[interactions]\npath = "log.csv"\ntimestamp = "timestamp"\n')
    run = train(Dataset.load(tmp_path / "data"), tmp_path / "run", load_recipe("popularity"))
    network = neighbourhood(run, "u0")
    assert {kind for _, kind in network.nodes(data="kind")} == {"user", "item"}
    even = {int(run.item_ids[index][1:]) % 2 for kind, index in network if kind == "item"}
    assert even == {0}  # nobody takes items of both kinds


def test_mistakes_are_named(tiny_data, tiny_runs, tmp_path):
    with pytest.raises(UserError, match="--user needs a run"):
        inspect_folder(tiny_data, tmp_path, "u1")
    with pytest.raises(UserError, match="no user with the id 'nobody'; there are 40, for example"):
        inspect_folder(tiny_runs["default"], tmp_path, "nobody")
    with pytest.raises(UserError):
        inspect_folder(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="holds an unfinished run"):
        inspect_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
