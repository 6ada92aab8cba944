"""The cross-modal study on data whose truth is known: rotated and independent features, one modality that decides."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from gnnrec.datasets import Dataset, Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.modalities import ablation, study_modalities
from gnnrec.modalities.ablation import MEASURES, ablate, measured, prepare, variants
from gnnrec.modalities.agreement import agreement, cka, neighbour_overlap
from gnnrec.modalities.cold import METHODS, cold_by_content
from gnnrec.modalities.consumption import co_consumption, draw_pairs, weighted_auc
from gnnrec.modalities.meeting import retrieval
from gnnrec.recipe import Recipe, load_recipe

SMALL = (
    "model.dim=16",
    "train.batch_size=256",
    "model.factors=false",
    "model.spectrum=false",
    "model.paths=false",
    "train.epochs=8",
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def turned(x: np.ndarray) -> np.ndarray:
    return 2 * x @ ortho_group.rvs(x.shape[1], random_state=0) - 1


def test_cka_is_that_of_the_kernels_it_never_makes() -> None:
    x, y = normal(40, 6), normal(40, 9, seed=1)
    y[:, :3] += x[:, :3]

    def hsic(first: np.ndarray, second: np.ndarray) -> float:
        n, ones = len(first), np.ones(len(first))
        k, l = first @ first.T, second @ second.T  # noqa: E741
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)
        product = ones @ k @ ones * (ones @ l @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * ones @ k @ l @ ones
        return float(np.trace(k @ l) + product)

    assert cka(x, y) == pytest.approx(hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y)))
    assert cka(x, x[:, :1] * 0) == 0


def test_cold_items_are_no_candidates_on_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who puts every user's cold things first, and what she took on validation next, errs nowhere."""
    dataset = planted("text", num_users=80, num_items=60)
    trial = prepare(dataset, split(dataset), {}, {}, seed=1)
    taken = torch.from_numpy(2 * trial.cold_rows.matrix().toarray() + trial.parts.val.matrix().toarray()).float()
    monkeypatch.setattr(ablation, "model_scorer", lambda model, graph: lambda users: taken[users])
    found = measured(trial, load_recipe("popularity"), (), 0)
    assert {name: values.min() for name, (users, values) in found.items() if len(users)} == dict.fromkeys(MEASURES, 1)


def test_a_rotated_copy_agrees_wholly_and_independent_features_do_not() -> None:
    x = normal(300, 10)
    missing = turned(x)
    missing[:20] = np.nan
    features = {
        name: from_array(rows.astype(np.float32))
        for name, rows in {"a": x, "turned": missing, "other": normal(300, 200, seed=3)}.items()
    }
    rows = {(row["first"], row["second"]): row for row in agreement(features)}
    same, none = rows["a", "turned"], rows["a", "other"]
    assert same["items"] == 280 and none["items"] == 300
    assert same["cka"] == pytest.approx(1, abs=1e-5) and same["knn_overlap"] == pytest.approx(1, abs=0.01)
    assert min(same["canonical"]) > 0.99
    # 200 dimensions on 300 items: the plain estimate of CKA would be about .5.
    assert none["cka_interval"][0] < 0 < none["cka_interval"][1] and abs(none["cka"]) < 0.05
    assert none["knn_chance"] == pytest.approx(10 / 299)
    assert none["knn_overlap"] == pytest.approx(none["knn_chance"], abs=0.015)
    assert abs(none["canonical"][0]) < 0.3
    said: list[str] = []
    few = {name: from_array(rows[:25].astype(np.float32)) for name, rows in {"a": x, "b": missing}.items()}
    assert agreement(few, say=said.append) == [] and "a and b: only 5 items" in said[0]


def test_common_neighbours_are_counted() -> None:
    angles = np.deg2rad([0, 1, 90, 91, 180, 181, 270, 271])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    y = x[[0, 2, 1, 3, 4, 5, 6, 7]]  # two of the four pairs are broken
    assert neighbour_overlap(x, y, k=1)[0] == 0.5


def test_weighted_auc_is_the_share_of_pairs_in_order() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 6, 60), random.random(60) < 0.4
    weight = random.integers(0, 3, 60).astype(float)
    up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
    naive = sum(
        weight[i] * weight[j] * ((scores[i] > scores[j]) + (scores[i] == scores[j]) / 2) for i in up for j in down
    )
    rank = np.unique(scores, return_inverse=True)[1]
    assert weighted_auc(rank, positive, weight) == pytest.approx(naive / (weight[up].sum() * weight[down].sum()))


def test_pairs_are_of_one_user_or_of_nobody_and_equally_popular() -> None:
    log = split(planted("text", num_users=60, num_items=80)).train
    pairs, taken = draw_pairs(log, np.random.default_rng(0)), log.matrix().toarray() > 0
    together = taken[pairs.user, pairs.first] & taken[pairs.user, pairs.second]
    assert np.array_equal(together, pairs.together) and np.all(pairs.first != pairs.second)
    popularity = taken.sum(0)
    for side in (pairs.first, pairs.second):
        real, anew = (popularity[side[pairs.together == kind]].mean() for kind in (True, False))
        assert anew == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("modality", ["text", "audio"])
def test_what_decides_predicts_what_is_taken_together(modality: str) -> None:
    dataset = planted(modality, num_users=200, num_items=160)
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    rows = {row["modality"]: row for row in co_consumption(features, split(dataset).train)}
    assert rows[modality]["auc_interval"][0] > 0.85 and rows[modality]["gain_interval"][0] > 0.3
    for other in set(rows) - {modality}:
        assert rows[other]["auc"] == pytest.approx(0.5, abs=0.06)
        assert rows[other]["auc_interval"][0] < 0.5 < rows[other]["auc_interval"][1] + 0.02
        assert abs(rows[other]["gain"]) < 0.01


def test_content_that_decides_finds_its_item_factors() -> None:
    dataset = planted("text", num_users=200, num_items=200, rows_per_user=20)
    features = {name: from_array(values) for name, values in dataset.item_features.items() if name != "audio"}
    rows = {
        (row["query"], row["target"], row["method"]): row for row in retrieval(features, split(dataset).train, (0, 1))
    }
    for method in ("cca", "infonce", "ridge"):
        text, image = (rows[name, "collaborative", method] for name in ("text", "image"))
        # The right one of eight clusters is found, so the rest is chance among an eighth.
        assert text["mrr"] > 2 * text["mrr chance"] and image["mrr"] < 1.7 * image["mrr chance"]
    with pytest.raises(UserError, match=r"features\.collaborative"):
        retrieval({"collaborative": features["text"]}, split(dataset).train)


@pytest.fixture(scope="module")
def trial() -> ablation.Trial:
    dataset = planted("text", num_users=150, num_items=160)
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    return prepare(dataset, split(dataset), features, {})


def test_cold_items_are_out_of_the_training_and_no_test_row_is_in(trial: ablation.Trial) -> None:
    parts = split(trial.dataset)
    assert not trial.cold[trial.parts.train.item].any() and not trial.cold[trial.parts.val.item].any()
    assert trial.cold.sum() == round(0.2 * len(np.unique(parts.train.item)))
    assert len(trial.parts.train) + len(trial.parts.val) + len(trial.cold_rows) == len(parts.train) + len(parts.val)
    assert len(trial.parts.test) == 0
    with pytest.raises(UserError, match="no validation rows"):
        prepare(trial.dataset, type(parts)(parts.train, parts.test.rows(np.arange(0)), parts.test), {}, {})


def test_without_the_modality_that_decides_cold_items_are_lost(trial: ablation.Trial, tmp_path: Path) -> None:
    recipe = load_recipe(overrides=SMALL)
    found = ablate(trial, recipe, (0,), tmp_path)
    assert [row["modalities"] for row in found["variants"]] == [
        *("audio + image + text", "image + text", "audio + text", "audio + image", "audio", "image", "text", "none")
    ]
    value = {(row["modality"], row["added"]): row for row in found["value"] if row["measure"] == "cold items"}
    for added in ("with all others", "alone"):
        assert value["text", added]["interval"][0] > 0.3 and value["text", added]["p_holm"] < 0.01
        for other in ("audio", "image"):
            assert value[other, added]["interval"][0] < 0.02 and value[other, added]["ndcg@10"] < 0.1
    levels = {row["modalities"]: row for row in found["variants"]}
    drop = levels["audio + image + text"]["cold items"] - levels["audio + image"]["cold items"]
    assert value["text", "with all others"]["ndcg@10"] == pytest.approx(drop)
    with no_training():  # everything is kept
        assert ablate(trial, recipe, (0,), tmp_path) == found
    with pytest.raises(AssertionError, match="trained again"), no_training():  # other settings are other trainings
        ablate(trial, load_recipe(overrides=[*SMALL, "model.layers=1"]), (0,), tmp_path)


@contextmanager
def no_training() -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "fit_model", refuse)
        yield


def test_every_set_of_modalities_is_trained_once() -> None:
    assert variants(("a", "b")) == [("a", "b"), ("b",), ("a",), ()]
    assert variants(("a",)) == [("a",), ()]


def test_cold_items_are_placed_by_content_alone(trial: ablation.Trial) -> None:
    chance = ablation.measured(trial, load_recipe(overrides=SMALL), (), 0)["cold items"][1].mean()
    for method in METHODS:
        assert cold_by_content(trial, method)["cold items"][1].mean() > 2 * chance
    with pytest.raises(UserError, match="allowed: ridge, cca, infonce"):
        cold_by_content(trial, "magic")


def test_the_command_prints_draws_and_goes_on(
    planted_folder: Path, one_document: Any, run_command: Any, tmp_path: Path
) -> None:
    options = (planted_folder, "--set", *SMALL, "--epochs", "2", "--out", tmp_path / "kept")
    document = one_document("modalities", *options, "--plots", tmp_path / "plots")
    names = ["audio", "image", "text"]
    assert [row["modality"] for row in document["modalities"]] == names
    assert [(row["first"], row["second"]) for row in document["agreement"]] == [
        *(("audio", "image"), ("audio", "text"), ("image", "text"))
    ]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {Path(name).name for name in document["pictures"]}
    assert len(document["pictures"]) == 6 and document["alignment"] == []  # 60 items are too few to retrieve among
    assert len(list((tmp_path / "kept").iterdir())) == 8
    status, out, err = run_command("modalities", *options, "--skip", "agreement", "alignment", "consumption")
    assert status == 0 and "what each modality adds" in out and "which modalities agree" not in out
    assert "audio + image + text, seed 0: validation" in err
    shown = f"{document['ablation']['variants'][0]['cold items']:.4f}"
    assert shown in out


def test_what_is_asked_wrongly_is_one_line(tiny_data: Path, run_command: Any, tmp_path: Path) -> None:
    status, out, err = run_command("modalities", tiny_data, "--skip", "plots")
    assert (status, out) == (2, "") and "allowed: agreement, alignment, consumption, ablation" in err
    bare = Interactions(user=np.zeros(4, np.int32), item=np.arange(4, dtype=np.int32), num_users=1, num_items=4)
    dataset = Dataset(name="bare", root=tmp_path, user_ids=("u",), item_ids=tuple("abcd"), interactions=bare)
    with pytest.raises(UserError, match="no content"):
        study_modalities(dataset, Recipe())
    with pytest.raises(UserError, match="--seeds: found 0"):
        study_modalities(dataset, Recipe(), seeds=0)
    assert json.dumps(
        study_modalities(planted("text", 60, 60), skip=("agreement", "alignment", "consumption", "ablation"))
    )
