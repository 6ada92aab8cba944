"""What a list is made of, against computations by hand."""

import numpy as np
import pytest

from gnnrec.graph import item_modalities, nodes_of
from gnnrec.run_folder import Run
from gnnrec.serve.candidates import Content


def naive(run: Run, modality: str, item: int, history: list[int]) -> float | None:
    """Cosine of an item's centred feature to the mean of the history's unit vectors, one number at a time."""
    nodes = run.known_graph[modality]
    node = nodes_of(run.known_graph, modality).tolist()

    def unit(index):
        place = node[index]
        if place < 0 or bool(nodes.imputed[place]):
            return None
        raw = nodes.x[place].numpy() * nodes.scale.numpy()
        return raw / np.linalg.norm(raw)

    had = [row for row in map(unit, history) if row is not None]
    mine = unit(item)
    if mine is None or not had:
        return None
    mean = np.mean(had, axis=0)
    return float(mine @ mean / np.linalg.norm(mean))


def test_nearness_is_the_cosine_to_the_mean_of_the_history(tiny_run):
    content = Content(tiny_run.known_graph)
    assert content.modalities == tuple(item_modalities(tiny_run.known_graph))
    bare = tiny_run.item_index("i5")  # has no picture
    history = [tiny_run.item_index(name) for name in ("i0", "i5", "i8")]
    items = [tiny_run.item_index(f"i{number}") for number in (1, 5, 9, 20)]
    found = content.nearness(items, history)
    for modality in content.modalities:
        expected = [naive(tiny_run, modality, item, history) for item in items]
        assert found[modality] == [None if value is None else pytest.approx(value, abs=1e-4) for value in expected]
    assert found["image"][items.index(bare)] is None and None not in found["text"]
    assert content.nearness(items, [bare])["image"] == [None] * 4
    assert content.nearness(items, [])["text"] == [None] * 4


def test_candidates_are_the_list_and_its_parts(serve, tiny_runs):
    client, run = serve(tiny_runs["default"]), Run.load(tiny_runs["default"])
    found = client.get("/candidates", params={"user": "u1", "k": 6}).json()
    assert [{name: row[name] for name in ("rank", "id", "score", "title")} for row in found["items"]] == client.get(
        "/recommend", params={"user": "u1", "k": 6}
    ).json()["items"]
    items = [run.item_index(row["id"]) for row in found["items"]]
    had = run.known.item[run.known.user == run.user_index("u1")].tolist()
    for item, row in zip(items, found["items"]):
        assert row["interactions"] == int((run.known.item == item).sum())
        assert row["content"]["text"] == pytest.approx(naive(run, "text", item, had), abs=1e-4)
    unit = run.item_vectors[items] / np.linalg.norm(run.item_vectors[items], axis=1, keepdims=True)
    assert found["alike"][3] == np.rint(100 * unit[3] @ unit[:3].T).astype(int).tolist()
    without = serve(tiny_runs["popularity"]).get("/candidates", params={"user": "u1"}).json()
    assert without["alike"] is None and without["modalities"] == ["image", "text"]


def test_what_was_told_counts_as_had(serve, tiny_runs):
    client, run = serve(tiny_runs["default"]), Run.load(tiny_runs["default"])
    assert client.post("/feedback", json={"user": "newcomer", "item": "i4"}).status_code == 201
    row = client.get("/candidates", params={"user": "newcomer", "k": 1}).json()["items"][0]
    expected = naive(run, "text", run.item_index(row["id"]), [run.item_index("i4")])
    assert row["content"]["text"] == pytest.approx(expected, abs=1e-4)
