"""Folding in: for a history as the run knows it every model gives its own scores; somebody new gets hers by hand."""

import numpy as np
import pytest
import torch

from gnnrec.datasets import Dataset, planted
from gnnrec.graph import with_interactions
from gnnrec.models import MODELS, ClosedFormModel, model_scorer
from gnnrec.models.fold_in import FoldIn, history_log
from gnnrec.models.sasrec import SASRec
from gnnrec.models.tower import Tower
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

NEW = (1, 7, 3)  # a history of somebody new


def histories_of(run: Run, users: list[int]) -> list[list[int]]:
    return [run.known.item[run.known.user == user].tolist() for user in users]


@pytest.fixture(scope="module", params=list(MODELS))
def any_run(request: pytest.FixtureRequest, tiny_data, tmp_path_factory) -> Run:
    recipe = load_recipe(overrides=[f"model.name={request.param}", "train.epochs=1", "train.batch_size=128"])
    return train(Dataset.load(tiny_data), tmp_path_factory.mktemp("fold") / "run", recipe)


def test_a_known_history_gets_the_scores_of_the_model(any_run: Run) -> None:
    users = [5, 0, 17, 33]
    fold_in = FoldIn(any_run.model, any_run.known_graph)
    log = history_log(histories_of(any_run, users), len(any_run.item_ids))
    found = fold_in.scorer(users, log)(torch.arange(len(users)))
    expected = model_scorer(any_run.model, any_run.known_graph)(torch.tensor(users))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_catalogue_whose_cold_items_were_placed_gets_the_scores_of_the_model(tmp_path) -> None:
    recipe = load_recipe(overrides=["train.epochs=2", "train.batch_size=128", "model.dim=16"])
    run = train(planted("text", num_users=100, num_items=150), tmp_path / "run", recipe)
    assert len(run.model.placement_landmarks)
    log = history_log(histories_of(run, [3, 4]), 150)
    found = FoldIn(run.model, run.known_graph).scorer([3, 4], log)(torch.arange(2))
    expected = model_scorer(run.model, run.known_graph)(torch.tensor([3, 4]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_longer_history_and_somebody_new_get_other_scores(any_run: Run) -> None:
    (mine,) = histories_of(any_run, [5])
    genre = int(any_run.user_ids[5][1:]) % 2  # hers: one thing of the other genre is a change of taste
    other = next(item for item, name in enumerate(any_run.item_ids) if int(name[1:]) % 2 != genre)
    fold_in = FoldIn(any_run.model, any_run.known_graph)
    log = history_log([mine, [*mine, other], NEW], len(any_run.item_ids))
    before, after, new = fold_in.scorer([5, 5, -1], log)(torch.arange(3))
    assert new.isfinite().all() and new.std() > 0
    if any_run.recipe.model_name != "popularity":  # which gives everybody the same
        assert (before - after).abs().max() > 0.005 * before.std()
    if isinstance(any_run.model, ClosedFormModel | SASRec | Tower):  # what it gives a user who takes one thing more
        known = any_run.known
        user, item = np.append(known.user, 5).astype(np.int32), np.append(known.item, other).astype(np.int32)
        time = np.append(known.timestamp, known.timestamp.max() + 1)
        grown = type(known)(user=user, item=item, num_users=known.num_users, num_items=known.num_items, timestamp=time)
        expected = model_scorer(any_run.model, with_interactions(any_run.graph, grown))(torch.tensor([5]))[0]
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)


def test_somebody_new_stands_where_her_items_put_her(tiny_data, tmp_path) -> None:
    """One depth and nothing else: the sum of her items' starts over the roots of both degrees, at length one."""
    settings = ("layers=1", "recent=0", "factors=false", "spectrum=false", "paths=false", "dim=8")
    recipe = load_recipe(overrides=["train.epochs=2", "train.batch_size=128", *(f"model.{each}" for each in settings)])
    run = train(Dataset.load(tiny_data), tmp_path / "run", recipe)
    model, graph = run.model, run.known_graph
    with torch.no_grad():
        start, items = model._item_start(graph).numpy(), model(graph).item.numpy()
    takers = np.array([len(set(run.known.user[run.known.item == item])) for item in NEW])
    user = (start[list(NEW)] / np.sqrt(takers * len(NEW))[:, None]).sum(0)
    expected = items @ (user / np.linalg.norm(user))
    found = FoldIn(model, graph).scorer([-1], history_log([NEW], len(run.item_ids)))(torch.arange(1))[0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_taste_is_known_from_three_things(planted_run: Run) -> None:
    """Text decides there: whoever takes three of a cluster gets the rest of it, though nobody like her was trained."""
    values = planted_run.graph["text"].x.numpy()
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    anchors = range(0, 60, 5)
    hits = []
    for anchor in anchors:
        near = np.argsort(-(unit @ unit[anchor]))
        history, rest = near[:3].tolist(), near[3:5].tolist()
        scores = FoldIn(planted_run.model, planted_run.known_graph).scorer([-1], history_log([history], 60))(
            torch.arange(1)
        )
        scores[0, history] = -torch.inf
        hits.append(len(set(rest) & set(scores[0].topk(8).indices.tolist())) / 2)
    assert np.mean(hits) > 0.6  # by chance 8 of 57
