"""False profiles are what their names say, they push items where nothing is done about it, and trimming halves that."""

import dataclasses

import numpy as np
import pytest

from gnnrec.audit.poison import ATTACKS, exposure, false_profiles, pushed_items, with_users
from gnnrec.audit.shadows import Shadows, halves, standing
from gnnrec.datasets import Dataset, Interactions, planted
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import GraphConfig
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.robust import trusted_rows


def log_of(pairs: list[tuple[int, int]], users: int, items: int) -> Interactions:
    user, item = np.array(pairs, dtype=np.int32).T
    return Interactions(user=user, item=item, num_users=users, num_items=items)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return planted("text", num_users=300, num_items=120, cold_share=0.0)


def test_profiles_hold_the_pushed_item_and_fillers_of_their_kind(dataset: Dataset) -> None:
    log, random = dataset.interactions, np.random.default_rng(0)
    count = np.bincount(log.item, minlength=log.num_items)
    (item,) = pushed_items(log, 1, random)
    assert 0 < count[item] <= np.median(count[count > 0])
    profiles = {attack: false_profiles(log, int(item), attack, random) for attack in ATTACKS}
    for found in profiles.values():
        assert len(found) == 3  # 1 % of 300
        assert all(profile[-1] == item and len(set(profile)) == len(profile) for profile in found)
    shared = set(profiles["bandwagon"][0]) & set(profiles["bandwagon"][1]) & set(profiles["bandwagon"][2])
    best = np.argsort(-count, kind="stable")[: len(profiles["random"][0]) // 3]
    assert set(best.tolist()) <= shared
    known = {attack: np.mean([count[profile[:-1]].mean() for profile in found]) for attack, found in profiles.items()}
    assert known["average"] > known["random"]


def test_exposure_is_the_share_of_lists_that_hold_the_item(dataset: Dataset, tmp_path) -> None:
    run = train(dataset, tmp_path / "run", load_recipe("popularity"))
    count = np.bincount(run.train.item, minlength=run.train.num_items)
    best = int(count.argmax())
    assert exposure(run.model, run.graph, run.train, best) == 1.0  # everybody without it gets it first
    assert exposure(run.model, run.graph, run.train, int(count.argmin())) < 0.1


def test_false_profiles_push_and_trimming_takes_half_of_it_away(dataset: Dataset, tmp_path) -> None:
    run = train(dataset, tmp_path / "run", load_recipe("item_knn", ["model.shrink=0"]))
    shadows = Shadows(run, dataset)
    gained = {}
    for share in (0.0, 0.01):
        recipe = dataclasses.replace(run.recipe, graph=dataclasses.replace(run.recipe.graph, robust=share))
        before_model = shadows.fit(run.train, recipe)
        gains = []
        for item in pushed_items(run.train, 6, np.random.default_rng(2)):
            fakes = false_profiles(run.train, int(item), "bandwagon", np.random.default_rng(3))
            model, graph = shadows.fit(with_users(run.train, fakes), recipe)
            gains.append(exposure(model, graph, run.train, int(item)) - exposure(*before_model, run.train, int(item)))
        gained[share] = np.mean(gains)
    assert gained[0.0] > 0.01
    assert gained[0.01] < gained[0.0] / 2


def test_rows_stand_where_content_speaks_for_them() -> None:
    """Items 0-9 are of one kind and 10-19 of another; item 9 is rare: hers of its kind stays, the other goes."""
    pairs = [(user, item) for user in range(50) for item in (range(9) if user % 2 else range(10, 19))]
    log = log_of([*pairs, (1, 9), (2, 9)], 50, 20)
    kinds = np.repeat([[1.0, 0.0], [0.0, 1.0]], 10, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(20, 2))
    content = {"text": from_array(kinds.astype(np.float32))}
    kept = trusted_rows(log, content, 0.01)
    assert len(kept) <= len(log) - 1 and 2 not in kept.user[kept.item == 9]
    everything = trusted_rows(log.rows(log.item != 9), content, 0.01)
    assert len(everything) == len(pairs)  # nothing else is rare
    assert 9 not in trusted_rows(log, {}, 0.01).item  # nothing speaks for it


def test_a_very_long_profile_is_clipped() -> None:
    pairs = [(user, item) for user in range(200) for item in range(20)] + [(200, item) for item in range(500)]
    log = log_of(pairs, 201, 500)
    kept = trusted_rows(log, {"text": from_array(np.ones((500, 1), dtype=np.float32))}, 0.0)
    assert np.bincount(kept.user, minlength=201).max() == 20


def test_halves_are_every_other_row_of_each_user_and_standing_is_in_deviations() -> None:
    import torch

    log = log_of([(0, 1), (1, 5), (0, 2), (0, 3), (1, 6)], 2, 8)
    history, wanted = halves(log)
    assert (history.item.tolist(), wanted.item.tolist()) == ([1, 5, 3], [2, 6])
    scores, mask = torch.tensor([[0.0, 0.0, 0.0, 4.0]]), torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    assert standing(scores, mask).item() == pytest.approx(1.5)


def test_the_command_says_before_and_after(planted_folder, tmp_path, one_document) -> None:
    train(Dataset.load(planted_folder), tmp_path / "run", load_recipe("item_knn"))
    found = one_document("audit", tmp_path / "run", "--poison", "--trials", "1")
    assert [(row["attack"], row["robust"]) for row in found] == [(a, r) for a in ATTACKS for r in (False, True)]
    assert all(0 <= row["after"] <= 1 and row["gained"] == row["after"] - row["before"] for row in found)


def test_a_share_that_is_no_minority_is_refused() -> None:
    with pytest.raises(UserError, match="graph.robust: found 0.5; allowed: from 0, below 0.5"):
        GraphConfig(robust=0.5)
