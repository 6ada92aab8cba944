"""Every model against its formula, and one contract over all of them."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Interactions, planted, powerlaw, split
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.graph import build_graph, with_interactions
from gnnrec.graph_growth import add_user
from gnnrec.models import MODELS, ClosedFormModel, Model, has_embeddings, model_scorer, user_scores
from gnnrec.pipeline import fit_model
from gnnrec.recipe import Recipe
from gnnrec.training import TrainConfig

USERS, ITEMS = 40, 30
ORDERED = ("transition", "slist", "sasrec")  # nothing without the order of the log
COLD_USER, COLD_ITEM = 39, 29


def content(dataset: Dataset) -> dict[str, Features]:
    return {name: from_array(values) for name, values in dataset.item_features.items()}


def toy_log(seed: int = 0) -> Interactions:
    """Nothing of the last user and the last item."""
    log = powerlaw(USERS - 1, ITEMS - 1, 260, seed).interactions
    return dataclasses.replace(log, num_users=USERS, num_items=ITEMS)


def toy_graph(log: Interactions | None = None) -> HeteroData:
    random = np.random.default_rng(0)
    values = random.normal(size=(ITEMS, 6)).astype(np.float32)
    values[[3, 4]] = np.nan
    users = random.normal(size=(USERS, 5)).astype(np.float32)
    friends = np.array([[0, 1, COLD_USER], [2, 5, 7]], np.int32)
    items = {"text": from_array(values), "image": from_array(values**2)}  # other neighbours
    return build_graph(log or toy_log(), items, {"text": from_array(users)}, friends)


def fitted(name: str, graph: HeteroData, **settings: Any) -> Model:
    """Closed forms are fitted; the others go a few steps, away from where they start."""
    recipe = Recipe(model_name=name, model=MODELS[name][1](**settings), train=TrainConfig(epochs=4, batch_size=128))
    nothing = toy_log().rows(np.zeros(0, np.int64))
    return fit_model(graph, nothing, recipe)[0]


def scores_of(model: Model, graph: HeteroData) -> torch.Tensor:
    with torch.no_grad():
        return model_scorer(model, graph)(torch.arange(graph["user"].num_nodes))


@pytest.mark.parametrize("name", MODELS)
def test_everybody_has_finite_scores_the_unknown_too(name: str) -> None:
    graph = toy_graph()
    model = fitted(name, graph)
    scores = scores_of(model, graph)
    assert scores.shape == (USERS, ITEMS) and scores.isfinite().all()
    some = torch.tensor([COLD_USER, 3])
    torch.testing.assert_close(model_scorer(model, graph)(some), scores[some], atol=1e-5, rtol=1e-5)
    if has_embeddings(model):
        with torch.no_grad():
            user, item, *_ = model(graph)
        torch.testing.assert_close(user @ item.T, scores, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ORDERED])
def test_works_without_any_content_and_without_times(name: str) -> None:
    log = dataclasses.replace(toy_log(), timestamp=None)
    graph = build_graph(log, {})
    assert scores_of(fitted(name, graph), graph).isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_the_scores_of_one_user_are_hers_among_all(name: str) -> None:
    graph = toy_graph()
    model = fitted(name, graph)
    scores = scores_of(model, graph)
    assert not torch.allclose(scores[4], scores[5]) or name == "popularity"
    torch.testing.assert_close(user_scores(model, graph, 5), scores[5])


@pytest.mark.parametrize("name", MODELS)
def test_the_state_brings_back_the_same_scores(name: str) -> None:
    graph = toy_graph()
    model = fitted(name, graph)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    again = MODELS[name][0](MODELS[name][1](), toy_graph(), torch.Generator().manual_seed(99))
    if isinstance(again, ClosedFormModel):
        again.load_buffers(state)
    else:
        again.load_state_dict(state)
    assert torch.equal(scores_of(again, toy_graph()), scores_of(model, graph))


@pytest.mark.parametrize("name", MODELS)
def test_a_grown_history_changes_that_user_s_scores(name: str) -> None:
    log = toy_log()
    graph = toy_graph(log)
    model = fitted(name, graph)
    more = {"user": COLD_USER, "item": 2, "timestamp": log.timestamp[-1] + 1}
    grown = Interactions(
        **{key: np.append(getattr(log, key), value).astype(getattr(log, key).dtype) for key, value in more.items()},
        num_users=USERS,
        num_items=ITEMS,
    )
    before, after = scores_of(model, graph), scores_of(model, with_interactions(graph, grown))
    changed = not torch.equal(before[COLD_USER], after[COLD_USER])
    assert changed == (name not in ("popularity", "mf", "vbpr"))  # these know users by their free embedding alone


NEW_USERS = [name for name, (kind, _) in MODELS.items() if kind.places_new_users]


@pytest.mark.parametrize("name", [name for name in NEW_USERS if name != "modality_gnn"])  # which knows users beside
def test_a_new_user_gets_what_a_known_one_with_her_history_gets(name: str) -> None:
    log = toy_log()
    graph = build_graph(log, {"text": from_array(np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32))})
    model = fitted(name, graph)
    grown = add_user(graph, log.item[log.user == 5])
    scores = scores_of(model, grown)
    torch.testing.assert_close(scores[-1], scores[5], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NEW_USERS)
def test_a_new_user_without_a_history_has_finite_scores(name: str) -> None:
    graph = toy_graph()
    scores = scores_of(fitted(name, graph), add_user(graph, np.zeros(0, np.int32)))
    assert scores.shape == (USERS + 1, ITEMS) and scores.isfinite().all()


# One other value for every field of every model's settings; a field that is not here fails the test.
OTHER: dict[str, Any] = {
    "dim": 8,
    "layers": 1,
    "similarity": "dot",
    "init_scale": 0.3,
    "start": "factors",
    "item_bias": True,
    "fusion": "concat",
    "modality": "text",
    "similar": 0.2,
    "together": 0.2,
    "friend": 0.2,
    "recent": 1,
    "sequence": 8,
    "half_life": 1.0,
    "neighbors": 2,
    "shrink": 3.0,
    "l2": 7.0,
    "confidence": 2.0,
    "iterations": 2,
    "factors": 2,
    "low_pass": 2.0,
    "heads": 1,
    "length": 3,
    "dropout": 0.6,
    "views": "two",
    "dropped": "node",
    "degree_aware": True,
    "contrast_layer": 2,
    "noise": 1.0,
    "contrast": 5.0,
    "contrast_temperature": 1.0,
    "align": 1.0,
    "align_item": 1.0,
    "align_temperature": 1.0,
    "content": 0.2,
    "popularity": False,
    "epsilon": 0.5,
    "delta": 1e-3,
    "degree": 2,
    "directions": 2,
    "above": 5.0,
    "popularity_share": 0.7,
    "epochs": 2,
    "batches": 2,
    "clip": 0.1,
    "learning_rate": 0.1,
    "temperature": 1.0,
    "hops": 1,
}
NO_NOISE = {name: {"epsilon": math.inf} for name in ("dp_filter", "dp_tower", "dp_mf")}  # there are few users here
# What has to be on for a setting to matter.
ON: dict[tuple[str, str], dict[str, Any]] = {
    ("ease", "half_life"): {"recent": 5},
    ("modality_gnn", "align_temperature"): {"align": 1.0},
    ("modality_gnn", "modality"): {"fusion": "single"},  # image without it: the first by name
}
FIELDS = [(name, field.name) for name, (_, config) in MODELS.items() for field in dataclasses.fields(config)]
# These matter where there are validation rows: test_factors.py, test_spectrum.py, test_paths.py, test_placement.py.
CHOSEN = [("modality_gnn", key) for key in ("factors", "spectrum", "paths", "placement")]
FIELDS = [field for field in FIELDS if field not in CHOSEN]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_setting_of_a_model_matters(name: str, field: str) -> None:
    graph = toy_graph()
    usual, other = (
        scores_of(fitted(name, graph, **ON.get((name, field), {}), **settings), graph)
        for settings in ({}, {field: OTHER[field]})
    )
    assert not torch.allclose(usual, other, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("popularity", *ORDERED)])
def test_learns_what_is_planted(name: str) -> None:
    """Users like one cluster: an item of it that is held out stands far above chance."""
    dataset = planted("text", num_users=120, num_items=80, cold_share=0.0)
    parts = split(dataset)
    graph = build_graph(parts.train, content(dataset))
    config = MODELS[name][1](**NO_NOISE.get(name, {}))
    recipe = Recipe(model_name=name, model=config, train=TrainConfig(epochs=30, batch_size=256))
    model, _ = fit_model(graph, parts.val, recipe)
    scores = scores_of(model, graph)
    scores[parts.train.user, parts.train.item] = -torch.inf
    wanted = scores[parts.test.user, parts.test.item][:, None]
    rank = (scores[parts.test.user] > wanted).sum(1)
    assert rank.float().mean() < 12  # chance: 35


def dense(log: Interactions) -> np.ndarray:
    return log.matrix().toarray().astype(np.float64)


def test_popularity_counts_the_training_rows() -> None:
    log = toy_log()
    scores = scores_of(fitted("popularity", toy_graph(log)), toy_graph(log))
    assert np.array_equal(scores[0], np.bincount(log.item, minlength=ITEMS))


def test_ease_equals_the_naive_inverse() -> None:
    log = toy_log()
    matrix = dense(log)
    precision = np.linalg.inv(matrix.T @ matrix + 7.0 * np.eye(ITEMS))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    graph = toy_graph(log)
    np.testing.assert_allclose(scores_of(fitted("ease", graph, l2=7.0), graph), matrix @ weights, atol=1e-5)


def test_slim_with_every_item_as_a_neighbour_is_ease() -> None:
    graph = toy_graph(together_log())
    slim, ease = (fitted(name, graph, l2=7.0, **more) for name, more in (("slim", {"neighbors": ITEMS}), ("ease", {})))
    torch.testing.assert_close(scores_of(slim, graph), scores_of(ease, graph), atol=1e-5, rtol=1e-5)


def together_log() -> Interactions:
    """Every item shares a user with every other one: the last user has them all."""
    log = toy_log()
    user = np.append(log.user, np.full(ITEMS, COLD_USER)).astype(np.int32)
    item = np.append(log.item, np.arange(ITEMS)).astype(np.int32)
    return Interactions(user=user, item=item, num_users=USERS, num_items=ITEMS)


def test_slim_equals_a_naive_regression_on_the_nearest_items() -> None:
    log = toy_log()
    matrix, k, l2 = dense(log), 3, 2.0
    weights = np.zeros((ITEMS, ITEMS))
    for item in range(ITEMS):
        cosine = matrix.T @ matrix[:, item] / np.sqrt(np.maximum(matrix.sum(0), 1e-12))
        cosine[item] = 0
        near = [other for other in np.argsort(-cosine, kind="stable")[:k] if cosine[other] > 0]
        left = matrix[:, near]
        weights[near, item] = np.linalg.solve(left.T @ left + l2 * np.eye(len(near)), left.T @ matrix[:, item])
    graph = toy_graph(log)
    found = scores_of(fitted("slim", graph, neighbors=k, l2=l2), graph)
    np.testing.assert_allclose(found, matrix @ weights, atol=1e-5)


def test_item_knn_equals_a_naive_loop() -> None:
    log = toy_log()
    matrix, k, shrink = dense(log), 4, 2.5
    similarity = np.zeros((ITEMS, ITEMS))
    for j in range(ITEMS):
        row = np.array([matrix[:, i] @ matrix[:, j] for i in range(ITEMS)])
        row /= np.sqrt(matrix.sum(0) * matrix[:, j].sum()) + shrink
        row[j] = 0
        # Ties across the cut are left to chance: the k-th similarity decides what has to be in.
        similarity[j] = row
    graph = toy_graph(log)
    model = fitted("item_knn", graph, neighbors=k, shrink=shrink)
    kept = np.zeros((ITEMS, ITEMS))
    for i in range(ITEMS):  # row i of the CSR: the items j that chose i
        for place in range(model.offsets[i], model.offsets[i + 1]):
            kept[model.columns[place], i] = model.values[place]
    for j in range(ITEMS):
        expected = np.sort(similarity[j])[::-1][:k]
        np.testing.assert_allclose(np.sort(kept[j])[::-1][:k], expected, atol=1e-6)
        assert np.count_nonzero(kept[j]) == np.count_nonzero(expected)
        some = kept[j] > 0
        np.testing.assert_allclose(kept[j][some], similarity[j][some], atol=1e-6)
    np.testing.assert_allclose(scores_of(model, graph), matrix @ kept, atol=1e-5)


def test_graph_filter_equals_the_dense_formula() -> None:
    log = toy_log()
    matrix = dense(log)
    users, items = np.maximum(matrix.sum(1), 1), np.maximum(matrix.sum(0), 1)
    normalized = matrix / np.sqrt(np.outer(users, items))
    _, _, right = np.linalg.svd(normalized)
    vectors = right[:5].T
    ideal = np.diag(items**-0.5) @ vectors @ vectors.T @ np.diag(items**0.5)
    expected = matrix @ (normalized.T @ normalized + 0.7 * ideal)
    graph = toy_graph(log)
    found = scores_of(fitted("graph_filter", graph, factors=5, low_pass=0.7), graph)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ials_users_are_those_of_the_package() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    log = toy_log()
    graph = toy_graph(log)
    model = fitted("ials", graph, dim=6, l2=0.3, confidence=4.0, iterations=3)
    package = AlternatingLeastSquares(factors=6, regularization=0.3, alpha=4.0, iterations=1)
    package.item_factors = model.factors.numpy()
    expected = package.recalculate_user(np.arange(USERS), csr_matrix(log.matrix()))
    with torch.no_grad():
        user, item, *_ = model(graph)
    np.testing.assert_allclose(user, expected, atol=1e-4)
    assert torch.equal(item, model.factors)
    # The package's own optimum: the item factors solve the same problem for the users that they belong to.
    own = AlternatingLeastSquares(factors=6, regularization=0.3, alpha=4.0, iterations=3, random_state=model.seed)
    own.fit(csr_matrix(log.matrix()), show_progress=False)
    np.testing.assert_allclose(model.factors, own.item_factors, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mf", "dim", 0),
        ("lightgcn", "layers", -1),
        ("lightgcn", "similarity", "euclid"),
        ("modality_gnn", "fusion", "sum"),
        ("modality_gnn", "recent", -1),
        ("modality_gnn", "half_life", 0.0),
        ("vbpr", "dim", -3),
        ("ease", "l2", 0.0),
        ("ials", "confidence", float("nan")),
        ("ease", "half_life", -1.0),
        ("item_knn", "neighbors", 0),
        ("transition", "shrink", -1.0),
        ("slist", "recent", 0),
        ("sasrec", "heads", 3),
        ("sasrec", "dropout", 1.0),
        ("graph_filter", "factors", 0),
        ("slim", "l2", 0.0),
        ("xsimgcl", "views", "three"),
        ("xsimgcl", "contrast_layer", 4),
        ("xsimgcl", "noise", -0.1),
        ("sgl", "dropped", "walk"),
        ("sgl", "dropout", 1.0),
    ],
)
def test_settings_out_of_range_are_one_clear_line(name: str, field: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"model\.{field}: found '?{value}'?; allowed: \S+"):
        MODELS[name][1](**{field: value})
