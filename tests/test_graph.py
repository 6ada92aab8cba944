"""The heterogeneous graph: what is in it, what must not be, and what new items may change."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, planted, powerlaw, split
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.graph import (
    FRIEND,
    INTERACTS,
    MISSING,
    REV_INTERACTS,
    TOGETHER,
    GraphConfig,
    build_graph,
    interactions_of,
    item_modalities,
    operator,
    owners,
    user_modalities,
    with_interactions,
)

NONE = GraphConfig(neighbors=0, together=0)


def log_of(pairs: list[tuple[int, int]], num_users: int, num_items: int) -> Interactions:
    user, item = np.array(pairs, np.int32).reshape(-1, 2).T
    return Interactions(user=user.copy(), item=item.copy(), num_users=num_users, num_items=num_items)


def features(rows: int, dim: int, missing: tuple[int, ...] = (), seed: int = 0) -> Features:
    values = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    values[list(missing)] = np.nan
    return from_array(values)


def differences(first: HeteroData, second: HeteroData) -> set[str]:
    """The names of all parts in which two graphs differ."""
    parts: list[dict[tuple[object, str], torch.Tensor]] = []
    for graph in (first, second):
        stores = {kind: graph[kind] for kind in (*graph.node_types, *graph.edge_types)}
        tensors = {(kind, key): value for kind, store in stores.items() for key, value in store.items()}
        parts.append({key: value for key, value in tensors.items() if isinstance(value, torch.Tensor)})
    return {
        str(name)
        for name in parts[0].keys() | parts[1].keys()
        if not (name in parts[0] and name in parts[1] and torch.equal(parts[0][name], parts[1][name]))
    }


def test_the_whole_graph_is_valid_for_torch_geometric() -> None:
    log = powerlaw(30, 40, 200).interactions
    graph = build_graph(
        log,
        {"text": features(40, 6), "audio_whisper": features(40, 4, missing=(3, 5))},
        {"text": features(30, 5, missing=(1,))},
        np.array([[0, 1], [2, 5]], np.int32),
    )
    assert graph.validate()
    assert item_modalities(graph) == ("audio_whisper", "text")
    assert user_modalities(graph) == ("user_text",)
    assert {FRIEND, INTERACTS, REV_INTERACTS, TOGETHER, ("user_text", "rev_has_user_text", "user")} <= set(
        graph.edge_types
    )
    assert torch.equal(graph[FRIEND].edge_index, torch.tensor([[0, 1, 2, 5], [2, 5, 0, 1]]))
    again = interactions_of(graph)
    assert np.array_equal(again.user, log.user) and np.array_equal(again.item, log.item)
    assert np.array_equal(again.timestamp, log.timestamp)
    assert (
        FRIEND not in build_graph(log, {}, None, np.array([[0], [2]], np.int32), GraphConfig(friends=False)).edge_types
    )


def test_rows_outside_train_are_nowhere_in_the_graph() -> None:
    dataset = planted("audio", num_users=60, num_items=50)
    content = {name: from_array(values) for name, values in dataset.item_features.items()}
    content["text"].mask[:8] = False  # so that feature propagation has something to fill in

    def graph_with(log: Interactions) -> HeteroData:
        return build_graph(split(replace(dataset, interactions=log)).train, content)

    log = dataset.interactions
    held_out = dataset.published_split != 0
    moved = replace(log, item=np.where(held_out, (log.item + 1) % 50, log.item).astype(np.int32))
    assert not differences(graph_with(log), graph_with(moved))
    # The same check finds a leak: all rows, or one test row, taken for training.
    leaks = {str((INTERACTS, "edge_index")), str((TOGETHER, "edge_weight")), str(("text", "x"))}
    assert leaks <= differences(build_graph(log, content), build_graph(moved, content))
    one = np.flatnonzero(dataset.published_split == 2)[:1]
    leaking = log.rows(np.sort(np.r_[np.flatnonzero(~held_out), one]))
    assert str((INTERACTS, "edge_index")) in differences(graph_with(log), build_graph(leaking, content))


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_similar_edges_equal_a_naive_search(mutual: bool, threshold: float) -> None:
    k, rows = 4, 25
    given = features(rows, 5, missing=(2, 9))
    config = GraphConfig(neighbors=k, mutual=mutual, min_similarity=threshold, missing="drop")
    graph = build_graph(log_of([(0, 0)], 1, rows), {"image": given}, config=config)
    standard = given.values[given.mask].astype(np.float64)
    standard = (standard - standard.mean(0)) / standard.std(0)
    cosine = standard @ standard.T / np.outer(*[np.linalg.norm(standard, axis=1)] * 2)
    np.fill_diagonal(cosine, -1)
    chosen = {(int(j), i) for i in range(len(cosine)) for j in np.argsort(-cosine[i])[:k] if cosine[i, j] > threshold}
    if mutual:
        chosen = {(j, i) for j, i in chosen if (i, j) in chosen}
    store = graph["image", "similar", "image"]
    found = {(j, i): w for (j, i), w in zip(store.edge_index.T.tolist(), store.edge_weight.tolist())}
    assert found.keys() == chosen
    for (j, i), weight in found.items():
        assert weight == pytest.approx(cosine[i, j], abs=1e-5)
    assert owners(graph, "image").tolist() == np.flatnonzero(given.mask).tolist()


def test_together_edges_equal_a_naive_search() -> None:
    log = powerlaw(40, 30, 250).interactions
    graph = build_graph(log, {}, config=GraphConfig(together=3))
    users = [set(log.user[log.item == item]) for item in range(30)]
    expected = {}
    for i in range(30):
        cosine = {
            j: len(users[i] & users[j]) / np.sqrt(len(users[i]) * len(users[j]))
            for j in range(30)
            if i != j and users[i] & users[j]
        }
        for j in sorted(cosine, key=lambda j: (-cosine[j], j))[:3]:
            expected[j, i] = cosine[j]
    store = graph[TOGETHER]
    found = dict(zip(map(tuple, store.edge_index.T.tolist()), store.edge_weight.tolist()))
    assert found == pytest.approx(expected, rel=1e-6)


def test_repeated_interactions_count_once_in_an_operator() -> None:
    graph = build_graph(log_of([(0, 0), (0, 0), (0, 1), (1, 1)], 2, 3), {}, config=NONE)
    to_user = operator(graph, REV_INTERACTS, "symmetric") @ torch.eye(3)
    half = 0.5**0.5
    torch.testing.assert_close(to_user, torch.tensor([[half, 0.5, 0], [0, half, 0]]))
    torch.testing.assert_close(operator(graph, INTERACTS, "symmetric") @ torch.eye(2), to_user.T)


def test_missing_content_is_filled_from_items_taken_together() -> None:
    # 0 and 1 share a user, 1 and 2 another; 3 is alone with a user, 4 has nobody.
    log = log_of([(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (0, 5)], 3, 7)
    given = features(7, 3, missing=(1, 2, 3, 4))
    graph = build_graph(log, {"text": given}, config=replace(NONE, neighbors=5))
    matrix = log.matrix().toarray().astype(np.float64)
    step = (matrix.T / np.maximum(matrix.sum(0), 1)[:, None]) @ (matrix / matrix.sum(1, keepdims=True))
    known = given.mask
    standard = np.zeros((7, 3))
    standard[known] = (given.values[known] - given.values[known].mean(0)) / given.values[known].std(0)
    x, reached = standard.copy(), known.astype(float)
    for _ in range(20):
        weight = step @ reached
        x = np.where(known[:, None], standard, step @ (x * reached[:, None]) / np.maximum(weight, 1e-12)[:, None])
        reached = np.where(known, 1.0, weight > 0)
    assert owners(graph, "text").tolist() == [0, 1, 2, 5, 6]  # 3 and 4 are reached by nobody
    np.testing.assert_allclose(graph["text"].x.numpy(), x[[0, 1, 2, 5, 6]], atol=1e-5)
    assert graph["text"].imputed.tolist() == [False, True, True, False, False]
    assert set(graph["text", "similar", "text"].edge_index[0].tolist()) <= {
        0,
        3,
        4,
    }  # nobody listens to what was filled in


@pytest.mark.parametrize("missing", MISSING)
def test_four_ways_to_stand_in_for_missing_content(missing: str) -> None:
    given = features(7, 3, missing=(1, 2, 3, 4))
    log = log_of([(0, 0), (0, 1), (1, 1), (1, 2), (2, 3), (0, 5)], 3, 7)
    nodes = build_graph(log, {"text": given}, config=replace(NONE, missing=missing))["text"]
    raw = nodes.x.double() * nodes.scale + nodes.mean  # undone: features as they came
    known = given.values[given.mask].astype(np.float64)
    np.testing.assert_allclose(raw[~nodes.imputed], known, atol=1e-6)
    filled = raw[nodes.imputed]
    if missing == "drop":
        assert len(filled) == 0
    elif missing == "zero":
        np.testing.assert_allclose(filled, np.zeros((4, 3)), atol=1e-6)
    elif missing == "mean":
        np.testing.assert_allclose(filled, np.tile(known.mean(0), (4, 1)), atol=1e-6)
    else:  # item 1 shares a user with 0 and 5, and its own filled row and that of 2 lie on the same path
        assert len(filled) == 2  # 3 and 4 are reached by nobody
        np.testing.assert_allclose(filled, np.tile((known[0] + known[1]) / 2, (2, 1)), atol=1e-5)


def test_a_dimension_that_is_the_same_everywhere_says_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    values[:, 1] = 123.456
    graph = build_graph(log_of([(0, 0)], 1, 200), {"image": from_array(values)})
    assert not graph["image"].x[:, 1].any()


def test_other_interactions_over_the_same_content() -> None:
    graph = build_graph(log_of([(0, 0)], 2, 3), {"text": features(3, 4)})
    operator(graph, INTERACTS, "mean")
    grown = with_interactions(graph, log_of([(0, 0), (1, 2)], 2, 3))
    assert operator(grown, INTERACTS, "mean").columns.tolist() == [0, 1]
    assert operator(graph, INTERACTS, "mean").columns.tolist() == [0]
    assert torch.equal(grown["text"].x, graph["text"].x)


@pytest.mark.parametrize("name", ["user", "item", "user_story", "clip/large", "v1.5"])
def test_names_that_would_collide_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"features.{name}: allowed"):
        build_graph(log_of([(0, 0)], 1, 5), {name: features(5, 6)})


@pytest.mark.parametrize(
    ("key", "value"),
    [("neighbors", -1), ("together", -1), ("together_by", "chance"), ("missing", "mask"), ("min_similarity", -0.5)],
)
def test_settings_out_of_range(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"graph.{key}: found {value!r}; allowed"):
        GraphConfig(**{key: value})


OTHER = {
    "neighbors": 2,
    "together": 2,
    "together_by": "visits",
    "mutual": True,
    "min_similarity": 0.5,
    "missing": "drop",
    "friends": False,
    "robust": 0.1,
}
WRITTEN = ("descriptions", "transcripts", "profiles")  # make content, which is no matter of this module: tests/words


def test_items_by_visits_are_those_that_share_users_and_weigh_what_was_walked() -> None:
    """Two groups of items that share no user: walks never leave one; the shares of a walk are at most 1 in all."""
    user = np.repeat(np.arange(40), 4).astype(np.int32)
    item = np.random.default_rng(0).integers(0, 6, 160).astype(np.int32) + 6 * (user % 2)
    log = Interactions(user=user, item=item.astype(np.int32), num_users=40, num_items=13)
    graph = build_graph(log, {}, config=GraphConfig(together=5, together_by="visits"))
    source, target = graph["item", "together", "item"].edge_index
    weight = graph["item", "together", "item"].edge_weight
    assert len(source) == 60 and torch.equal(source // 6, target // 6) and not (source == target).any()
    total = torch.zeros(13).index_add(0, target, weight)
    assert total[12] == 0 and (total[:12] > 0.5).all() and (total <= 1).all()  # item 12 has no user


@pytest.mark.parametrize("key", [field.name for field in fields(GraphConfig) if field.name not in WRITTEN])
def test_every_setting_of_the_graph_matters(key: str) -> None:
    log, friends = powerlaw(30, 40, 200).interactions, np.array([[0], [2]], np.int32)
    content = {"text": features(40, 6, missing=(3, 5))}
    usual, other = (
        build_graph(log, content, None, friends, config) for config in (GraphConfig(), GraphConfig(**{key: OTHER[key]}))
    )
    assert differences(usual, other)
