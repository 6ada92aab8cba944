"""New items and new users at the end of a graph: what they see, and what they must not change."""

import numpy as np
import pytest
import torch

from gnnrec.datasets import powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, GraphConfig, build_graph, operator, owners
from gnnrec.graph_growth import add_items, add_user


def features(rows: int, dim: int, seed: int = 0) -> Features:
    return from_array(np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32))


@pytest.mark.parametrize("mutual", [False, True])
def test_new_items_join_without_touching_what_was_there(mutual: bool) -> None:
    log = powerlaw(30, 40, 200).interactions
    config = GraphConfig(neighbors=3, mutual=mutual)
    content = {"text": features(40, 6), "image": features(40, 4, seed=1)}
    graph = build_graph(log, content, config=config)
    before = build_graph(log, content, config=config)
    operator(graph, ("text", "similar", "text"), "mean")  # made from the old edges, and not to be taken along
    new = features(2, 6, seed=2).values
    new[0] = content["text"].values[11]
    grown = add_items(graph, {"text": new}, config)
    assert grown.validate() and grown["item"].num_nodes == 42
    assert owners(grown, "text").tolist() == list(range(42))
    similar = ("text", "similar", "text")
    old = before[similar].edge_index.shape[1]
    assert torch.equal(grown[similar].edge_index[:, :old], before[similar].edge_index)
    listeners, heard = grown[similar].edge_index[1, old:], grown[similar].edge_index[0, old:]
    assert set(listeners.tolist()) == {40, 41} and heard.max() < 40  # nodes of text 40 and 41 are the new ones
    nearest = heard[grown[similar].edge_weight[old:].argmax()]
    assert owners(grown, "text")[nearest] == 11  # its twin
    assert operator(grown, similar, "mean").shape == (42, 42)
    assert torch.equal(grown["image"].x, before["image"].x)
    twice = add_items(grown, {"image": features(1, 4, seed=3).values}, config)
    assert twice.validate() and twice["item"].num_nodes == 43


def test_new_content_that_does_not_fit_is_refused_in_one_line() -> None:
    graph = build_graph(powerlaw(4, 5, 5).interactions, {"text": features(5, 6)})
    with pytest.raises(UserError, match="image: this run knows no such modality; allowed: text"):
        add_items(graph, {"image": features(1, 6).values}, GraphConfig())
    with pytest.raises(UserError, match="text: found 7 dimensions, this run was trained with 6"):
        add_items(graph, {"text": features(1, 7).values}, GraphConfig())


def test_a_dimension_that_is_the_same_everywhere_says_nothing_of_a_new_item() -> None:
    values = features(200, 3).values
    values[:, 1] = 123.456
    graph = build_graph(powerlaw(40, 200, 100).interactions, {"image": from_array(values)})
    query = values[:1] + np.array([[0, 5.0, 0]], np.float32)
    grown = add_items(graph, {"image": query}, GraphConfig())
    torch.testing.assert_close(grown["image"].x[-1], grown["image"].x[0])


def test_a_new_user_comes_last_with_the_newest_rows() -> None:
    log = powerlaw(30, 40, 200).interactions
    graph = build_graph(log, {"text": features(40, 6)})
    operator(graph, INTERACTS, "mean")  # made from the old edges, and not to be taken along
    grown = add_user(graph, np.array([7, 3], np.int32))
    assert grown["user"].num_nodes == 31 and graph["user"].num_nodes == 30
    assert grown[INTERACTS].edge_index[:, -2:].tolist() == [[30, 30], [7, 3]]
    assert torch.equal(grown[INTERACTS].edge_index[:, :-2], graph[INTERACTS].edge_index)
    assert (grown[INTERACTS].time[-2:] >= graph[INTERACTS].time.max()).all()
    assert operator(grown, INTERACTS, "mean").shape == (40, 31)
    assert torch.equal(grown["text"].x, graph["text"].x)


def test_a_new_user_without_a_history_changes_nothing_but_the_count() -> None:
    graph = build_graph(powerlaw(30, 40, 200).interactions, {})
    grown = add_user(graph, np.zeros(0, np.int32))
    assert grown["user"].num_nodes == 31
    assert torch.equal(grown[INTERACTS].edge_index, graph[INTERACTS].edge_index)
