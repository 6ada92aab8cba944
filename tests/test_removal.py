"""A graph without a piece is the graph that would have been built without it."""

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.graph import FRIEND, INTERACTS, REV_INTERACTS, build_graph, item_modalities, owners
from gnnrec.models import model_scorer
from gnnrec.removal import without_content, without_edges, without_friends, without_interactions, without_modality
from gnnrec.run_folder import Run

FRIENDS = np.array([[0, 1, 2], [1, 2, 0]], dtype=np.int32)


def made(dataset: Dataset) -> HeteroData:
    features = {name: from_array(part) for name, part in dataset.item_features.items()}
    return build_graph(split(dataset).train, features, friends=FRIENDS)


def test_removed_interactions_are_gone_both_ways_and_nothing_else_is() -> None:
    graph = made(planted("text", num_users=30, num_items=20))
    edges = graph[INTERACTS].edge_index
    user = int(torch.bincount(edges[0]).argmax())
    gone = edges[1, edges[0] == user][:2].tolist()
    left = without_interactions(graph, user, gone)
    keep = ~((edges[0] == user) & torch.isin(edges[1], torch.tensor(gone)))
    assert int(keep.sum()) == edges.shape[1] - 2
    assert torch.equal(left[INTERACTS].edge_index, edges[:, keep])
    assert torch.equal(left[REV_INTERACTS].edge_index, edges[:, keep].flip(0))
    assert torch.equal(graph[INTERACTS].edge_index, edges)  # the given graph is as it was
    assert torch.equal(without_interactions(graph, user, [])[INTERACTS].edge_index, edges)


@pytest.mark.parametrize("item", [0, 7])
def test_an_item_without_content_is_one_whose_content_was_missing(item: int) -> None:
    dataset = planted("text", num_users=30, num_items=20)
    graph = made(dataset)
    left = without_content(graph, "text", item)
    has = owners(left, "text")
    assert sorted(has.tolist()) == [other for other in range(20) if other != item]
    for other, node in zip(has.tolist(), left["text"].x):  # everybody else kept her own feature
        (place,) = (owners(graph, "text") == other).nonzero().squeeze(1)
        assert torch.equal(node, graph["text"].x[place])
    similar = left["text", "similar", "text"]
    assert int(similar.edge_index.max()) < left["text"].num_nodes == len(left["text"].x) == 19
    pairs = {(a, b) for a, b in owners(left, "text")[similar.edge_index].T.tolist()}
    before = {(a, b) for a, b in owners(graph, "text")[graph["text", "similar", "text"].edge_index].T.tolist()}
    assert pairs == {(a, b) for a, b in before if item not in (a, b)}
    assert len(similar.edge_weight) == similar.edge_index.shape[1]
    assert len(owners(graph, "text")) == 20
    for modality in item_modalities(graph):
        if modality != "text":
            assert torch.equal(left[modality].x, graph[modality].x)


def test_a_modality_that_is_taken_out_is_that_of_no_item() -> None:
    graph = made(planted("text", num_users=30, num_items=20))
    left, one_by_one = without_modality(graph, "text"), graph
    for item in range(20):
        one_by_one = without_content(one_by_one, "text", item)
    assert left["text"].num_nodes == one_by_one["text"].num_nodes == 0
    assert item_modalities(left) == item_modalities(graph)
    assert left.edge_types == graph.edge_types
    for edge_type in graph.edge_types:
        edges = left[edge_type].edge_index
        assert torch.equal(edges, one_by_one[edge_type].edge_index)
        assert edges.shape[1] == (0 if "text" in (edge_type[0], edge_type[2]) else graph[edge_type].edge_index.shape[1])
    for modality in item_modalities(graph):
        assert torch.equal(left[modality].x, one_by_one[modality].x)
    assert len(owners(graph, "text")) == 20


def test_friends_are_parted_both_ways() -> None:
    left = without_friends(made(planted("text", num_users=30, num_items=20)), 0, [1])
    assert {tuple(pair) for pair in left[FRIEND].edge_index.T.tolist()} == {(1, 2), (2, 1), (2, 0), (0, 2)}


def test_removing_nothing_changes_no_score_and_removing_something_does(planted_run: Run) -> None:
    graph, user = planted_run.known_graph, 0
    had = planted_run.known.item[planted_run.known.user == user].tolist()

    def scores(changed: HeteroData) -> torch.Tensor:
        return model_scorer(planted_run.model, changed)(torch.tensor([user]))[0]

    whole = scores(graph)
    assert torch.equal(scores(without_interactions(graph, user, [])), whole)
    assert torch.equal(scores(without_edges(graph, ("text", "similar", "text"), [])), whole)
    assert not torch.allclose(scores(without_interactions(graph, user, had[:3])), whole, atol=1e-3)
    assert not torch.allclose(scores(without_content(graph, "text", 5))[5], whole[5], atol=1e-4)
