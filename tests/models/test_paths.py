"""Item paths: chosen only where they help, kept with the run, and part of every score."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from gnnrec.datasets import Interactions
from gnnrec.graph import build_graph, with_interactions
from gnnrec.models import MODELS, model_scorer
from gnnrec.models.ease import ease_weights
from gnnrec.models.paths import choose_paths, histories, path_parts
from gnnrec.models.slim import matrix_of, sparse_scores
from gnnrec.pipeline import fit_model
from gnnrec.recipe import load_recipe

CYCLE = 8


def cyclic_log(length: int, num_users: int = 40, timed: bool = True) -> Interactions:
    """User u takes item u, u + 1, u + 2 … of a cycle of eight; only the order says what comes next."""
    user = np.repeat(np.arange(num_users), length)
    item = (user + np.tile(np.arange(length), num_users)) % CYCLE
    time = np.tile(np.arange(length), num_users)
    order = np.argsort(time, kind="stable")
    return Interactions(
        user=user[order].astype(np.int32),
        item=item[order].astype(np.int32),
        timestamp=time[order] if timed else None,
        num_users=num_users,
        num_items=CYCLE,
    )


def share_of_next(scores: torch.Tensor, length: int) -> float:
    """How often the item that comes next is the best."""
    users = torch.arange(len(scores))
    return float((scores.argmax(1) == (users + length) % CYCLE).float().mean())


def test_paths_find_the_next_item_that_the_scores_do_not_know():
    graph = build_graph(cyclic_log(20), {})
    starts = histories(graph, 20, 2.0)
    users = torch.arange(40)
    random = torch.rand(40, CYCLE, generator=torch.Generator().manual_seed(0))

    def measure(paths: csr_array | None) -> float:
        return share_of_next(random if paths is None else random + sparse_scores(starts, users, paths), 20)

    paths, weights = choose_paths(graph, lambda users: random[users], 20, 2.0, measure)
    assert measure(None) < 0.3
    assert measure(paths) == 1.0
    assert weights[1] > 0


def test_no_paths_where_nothing_is_better():
    graph = build_graph(cyclic_log(20), {})
    paths, weights = choose_paths(graph, lambda users: torch.rand(len(users), CYCLE), 20, 2.0, lambda paths: 0.5)
    assert paths is None
    assert weights.tolist() == [0, 0]


def test_weights_are_in_standard_deviations_of_the_scores():
    graph = build_graph(cyclic_log(3), {})
    scores = 7 * torch.rand(40, CYCLE, generator=torch.Generator().manual_seed(1))
    tried = []
    choose_paths(graph, lambda users: scores[users], 20, 5.0, lambda paths: tried.append(paths) or 0.0)
    follows = sparse_scores(histories(graph, 20, 5.0), torch.arange(40), tried[1])
    spread = scores.std(1).mean()
    # The first weight above 0, of one part alone.
    assert float(follows.std(1).mean()) == pytest.approx(0.25 * float(spread), rel=1e-4)


def test_a_log_without_order_has_paths_of_what_goes_together():
    log = cyclic_log(3, timed=False)
    graph = build_graph(log, {})
    rows = histories(graph, 20, 5.0) @ torch.eye(CYCLE)
    expected = log.matrix().toarray() / 3
    np.testing.assert_allclose(rows.numpy(), expected, atol=1e-6)
    tried = []
    choose_paths(graph, lambda users: torch.rand(len(users), CYCLE), 20, 5.0, lambda paths: tried.append(paths) or 0.0)
    assert len(tried) == 4  # none and three weights of one part
    ease = ease_weights(log, 200.0).numpy()
    paths = tried[1].toarray()
    np.testing.assert_allclose(paths / abs(paths).max(), ease / abs(ease).max(), atol=1e-6)


def test_large_catalogues_have_the_same_paths_from_the_neighbours(monkeypatch):
    """All eight items are neighbours here, so the regressions on them are those on all."""
    graph = build_graph(cyclic_log(20), {})
    scores = torch.rand(40, CYCLE, generator=torch.Generator().manual_seed(2))
    dense = path_parts(graph, lambda users: scores[users], 20, 5.0)
    monkeypatch.setattr("gnnrec.models.paths.DENSE_ITEMS", CYCLE - 1)
    local = path_parts(graph, lambda users: scores[users], 20, 5.0)
    assert len(dense) == len(local) == 2
    for expected, found in zip(dense, local):
        np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-5)


def test_the_model_scores_with_its_paths():
    log, later = cyclic_log(5), cyclic_log(6)
    graph = build_graph(log, {})
    val = later.rows(later.timestamp == 5)
    recipe = load_recipe(None, ["train.epochs=1", "model.dim=4", "model.half_life=2", "train.learning_rate=1e-6"])
    model, _ = fit_model(graph, val, recipe)
    users = torch.arange(40)
    embeddings = model(graph)
    with torch.no_grad():
        plain = embeddings.user @ embeddings.item.T
        paths = matrix_of(model.path_offsets, model.path_columns, model.path_values).toarray()
        expected = plain + histories(graph, 20, 2.0) @ torch.from_numpy(paths)
    torch.testing.assert_close(model_scorer(model, graph)(users), expected)
    unseen = torch.from_numpy(log.matrix().toarray() == 0)
    assert share_of_next(expected.where(unseen, -torch.inf), 5) == 1.0
    # One interaction later the paths start one item later.
    grown = model_scorer(model, with_interactions(graph, later))(users)
    unseen = torch.from_numpy(later.matrix().toarray() == 0)
    assert share_of_next(grown.where(unseen, -torch.inf), 6) == 1.0


def test_paths_can_be_switched_off():
    log, later = cyclic_log(5), cyclic_log(6)
    recipe = load_recipe(None, ["train.epochs=1", "model.dim=4", "model.paths=false"])
    model, _ = fit_model(build_graph(log, {}), later.rows(later.timestamp == 5), recipe)
    assert model.path_values.numel() == 0
    assert isinstance(model, MODELS["modality_gnn"][0])
