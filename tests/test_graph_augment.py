"""Views of a graph: how many edges stay, which, and what never changes."""

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import FRIEND, INTERACTS, REV_INTERACTS, TOGETHER, build_graph, interactions_of, num_interactions
from gnnrec.graph_augment import DropoutConfig, edge_dropout, node_dropout

SIMILAR, HAS = ("text", "similar", "text"), ("item", "has_text", "text")


def made(dense: bool = False) -> HeteroData:
    features = from_array(np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    friends = np.array([[0, 1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 9]], np.int32)
    log = powerlaw(60, 40, 560, seed=0).interactions
    if dense:  # everybody has something
        user, item = np.nonzero(np.random.default_rng(1).random((60, 40)) < 0.5)
        log = Interactions(user=user.astype(np.int32), item=item.astype(np.int32), num_users=60, num_items=40)
    return build_graph(log, {"text": features}, friends=friends)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pairs(graph: HeteroData, edge_type: tuple[str, str, str] = INTERACTS) -> list[tuple[int, int]]:
    return list(zip(*graph[edge_type].edge_index.tolist()))


@pytest.mark.parametrize("aware", [False, True])
def test_edge_dropout_keeps_the_share_both_ways_alike_and_all_else(aware: bool) -> None:
    graph = made()
    view = edge_dropout(graph, 0.3, seeded(), degree_aware=aware)
    whole = len(set(pairs(graph)))
    assert len(set(pairs(view))) == whole - round(0.3 * whole)
    assert set(pairs(view)) < set(pairs(graph))
    assert torch.equal(view[REV_INTERACTS].edge_index, view[INTERACTS].edge_index.flip(0))
    assert torch.equal(view[REV_INTERACTS].time, view[INTERACTS].time)
    times = set(zip(pairs(graph), graph[INTERACTS].time.tolist()))
    assert set(zip(pairs(view), view[INTERACTS].time.tolist())) < times
    assert [view[kind].num_nodes for kind in view.node_types] == [graph[kind].num_nodes for kind in graph.node_types]
    assert torch.equal(view["text"].x, graph["text"].x)
    for edge_type in (TOGETHER, FRIEND, SIMILAR, HAS):
        assert torch.equal(view[edge_type].edge_index, graph[edge_type].edge_index)
    assert len(interactions_of(graph)) == graph[INTERACTS].num_edges == len(pairs(made()))  # the old one is as it was


def test_what_was_taken_twice_goes_as_one() -> None:
    graph = made()
    store, back = graph[INTERACTS], graph[REV_INTERACTS]
    for part in (store, back):
        part.edge_index, part.time = torch.cat([part.edge_index] * 2, dim=1), torch.cat([part.time] * 2)
    counted = np.unique(np.array(pairs(edge_dropout(graph, 0.5, seeded()))), axis=0, return_counts=True)[1]
    original = np.unique(np.array(pairs(made())), axis=0, return_counts=True)[1]
    assert counted.min() == 2 * original.min()
    assert set(counted) <= {2 * number for number in original}


def test_degree_aware_dropout_spares_what_is_rare() -> None:
    graph = made()
    users, items = (num_interactions(graph, kind).double() for kind in ("user", "item"))
    user, item = graph[INTERACTS].edge_index
    product = users[user] * items[item]
    rare = product < product.median()

    def share(aware: bool) -> float:
        """Of the edges that stay, averaged over draws: those between rare things."""
        staying = []
        for seed in range(20):
            kept = set(pairs(edge_dropout(graph, 0.5, seeded(seed), degree_aware=aware)))
            there = torch.tensor([pair in kept for pair in pairs(graph)])
            staying.append(float(rare[there].double().mean()))
        return float(np.mean(staying))

    assert share(False) == pytest.approx(float(rare.double().mean()), abs=0.02)
    assert share(True) > share(False) + 0.05


def test_the_weighted_draw_has_the_known_probabilities() -> None:
    """Two edges of which one stays: by its weight over the sum, 1/sqrt(1*1) against 1/sqrt(1*1) and so on."""
    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = 3, 2
    edges = torch.tensor([[0, 1, 2], [0, 0, 1]])  # item 0 has two users, item 1 has one
    graph[INTERACTS].edge_index, graph[REV_INTERACTS].edge_index = edges, edges.flip(0)
    stays = [pairs(edge_dropout(graph, 0.67, seeded(seed), degree_aware=True)) for seed in range(3000)]
    weights = np.array([2**-0.5, 2**-0.5, 1.0])
    found = np.array([sum(kept == [pair] for kept in stays) for pair in ((0, 0), (1, 0), (2, 1))]) / 3000
    np.testing.assert_allclose(found, weights / weights.sum(), atol=0.035)


@pytest.mark.parametrize("aware", [False, True])
def test_node_dropout_takes_all_interactions_of_the_dropped_and_none_of_others(aware: bool) -> None:
    graph = made(dense=True)
    view = node_dropout(graph, 0.25, seeded(), degree_aware=aware)
    before, after = set(pairs(graph)), set(pairs(view))
    users, items = ({pair[side] for pair in before} - {pair[side] for pair in after} for side in (0, 1))
    assert (len(users), len(items)) == (15, 10)
    assert after == {(user, item) for user, item in before if user not in users and item not in items}
    assert torch.equal(view[REV_INTERACTS].edge_index, view[INTERACTS].edge_index.flip(0))
    assert view["user"].num_nodes == 60
    assert torch.equal(view[TOGETHER].edge_index, graph[TOGETHER].edge_index)


def test_all_edges_of_dropped_nodes_go_where_content_is_asked_for() -> None:
    graph = made(dense=True)
    view = node_dropout(graph, 0.25, seeded(), content=True)
    users, items = (num_interactions(view, kind) == 0 for kind in ("user", "item"))
    assert (int(users.sum()), int(items.sum())) == (15, 10)
    for edge_type, gone in ((TOGETHER, items), (SIMILAR, items), (FRIEND, users)):  # text node i is of item i
        source, target = graph[edge_type].edge_index
        stays = ~(gone[source] | gone[target])
        assert torch.equal(view[edge_type].edge_index, graph[edge_type].edge_index[:, stays])
        if "edge_weight" in graph[edge_type]:
            assert torch.equal(view[edge_type].edge_weight, graph[edge_type].edge_weight[stays])
    assert torch.equal(view[HAS].edge_index, graph[HAS].edge_index)  # what belongs to whom


def test_edges_of_content_keep_the_share_and_friends_stay_mutual() -> None:
    graph = made()
    view = edge_dropout(graph, 0.5, seeded(), content=True)
    assert view[TOGETHER].num_edges == graph[TOGETHER].num_edges - round(0.5 * graph[TOGETHER].num_edges)
    assert len(view[TOGETHER].edge_weight) == view[TOGETHER].num_edges
    friends = set(pairs(view, FRIEND))
    assert len(friends) == 6 and friends == {(other, one) for one, other in friends}


@pytest.mark.parametrize("dropout", [edge_dropout, node_dropout])
def test_nothing_to_drop_a_seed_and_the_limits(dropout) -> None:  # type: ignore[no-untyped-def]
    graph = made()
    assert dropout(graph, 0.0, seeded()) is graph
    state = torch.get_rng_state()
    assert pairs(dropout(graph, 0.4, seeded(1))) == pairs(dropout(graph, 0.4, seeded(1)))
    assert pairs(dropout(graph, 0.4, seeded(1))) != pairs(dropout(graph, 0.4, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(pairs(dropout(graph, 0.999, seeded()))) <= 1
    with pytest.raises(UserError, match=r"found 1\.0; allowed: from 0, below 1"):
        dropout(graph, 1.0, seeded())
    with pytest.raises(UserError, match=r"dropout\.nodes: found -0\.1; allowed: from 0, below 1"):
        DropoutConfig(nodes=-0.1)
