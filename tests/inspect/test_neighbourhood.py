import numpy as np
import pytest
import torch

from gnnrec.datasets import Dataset
from gnnrec.graph import owners
from gnnrec.inspect.neighbourhood import MOST_NODES, neighbourhood


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
