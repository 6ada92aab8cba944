"""gnnrec train --epsilon: what it makes, what it says, and what it refuses."""

import dataclasses
import json

import numpy as np
import pytest

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.pipeline import split_method
from gnnrec.private_runs import check_private, private_recipe
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run


def check(dataset: Dataset, recipe: Recipe) -> None:
    check_private(dataset, recipe, split_method(dataset, recipe))


def test_a_run_states_its_privacy(planted_folder, tmp_path, run_command) -> None:
    command = ("train", planted_folder, "--out", tmp_path / "run", "--epsilon", "2", "--delta", "1e-4")
    status, said, _ = run_command(*command)
    assert status == 0 and "private item side: epsilon 2, delta 0.0001 for a whole user" in said
    run = Run.load(tmp_path / "run")
    spent = run.provenance["privacy"]
    assert (run.recipe.model_name, spent["unit"]) == ("dp_filter", "user")
    assert spent["epsilon"] == pytest.approx(2, abs=1e-4) and spent["noise_multiplier"] > 1
    assert "private item side" in run_command("inspect", tmp_path / "run")[1]
    assert run_command("report", tmp_path / "run")[0] == 0
    assert "Differential privacy: private item side" in (tmp_path / "run" / "model_card.md").read_text()


def test_the_budget_lies_over_the_recipe() -> None:
    recipe = private_recipe("dp_tower", ["model.dim=4"], 3, None)
    assert (recipe.model_name, recipe.model.epsilon, recipe.model.delta, recipe.model.dim) == ("dp_tower", 3.0, 1e-5, 4)
    assert private_recipe(None, [], None, 1e-6).model.delta == 1e-6


@pytest.mark.parametrize("name", ["dp_tower", "dp_mf"])
def test_models_by_steps_state_theirs_and_know_a_history_again(planted_folder, tmp_path, run_command, name) -> None:
    typed = ("--recipe", name, "--epsilon", "3", "--delta", "1e-3", "--set", "model.epochs=2")
    assert run_command("train", planted_folder, "--out", tmp_path / "run", *typed)[0] == 0
    run = Run.load(tmp_path / "run")
    assert (run.recipe.model_name, run.provenance["privacy"]["unit"]) == (name, "user")
    assert 2.8 < run.provenance["privacy"]["epsilon"] < 3.01
    history = [run.item_ids[item] for item in run.known.item[run.known.user == 0]]
    known, anew = (
        [one["id"] for one in json.loads(run_command("recommend", run.folder, *asked, "-k", "5", "--json")[1])]
        for asked in (("--user", run.user_ids[0]), ("--history", ",".join(history)))
    )
    assert known == anew and len(known) == 5


def test_a_model_without_privacy_is_refused(planted_folder, tmp_path, run_command) -> None:
    typed = ("train", planted_folder, "--out", tmp_path / "run", "--recipe", "ease", "--epsilon", "2")
    status, _, said = run_command(*typed)
    assert (status, said) == (
        2,
        "gnnrec: train --epsilon: found the model ease, which has no privacy; allowed: dp_filter, dp_mf, dp_tower\n",
    )


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("split.min_core=2", "split.min_core: found 2, by which users depend on each other; allowed with dp_filter: 0"),
        ("graph.robust=0.01", "graph.robust: found 0.01, by which users depend on each other"),
        (
            "split.method=random",
            "split.method: found random, which cuts users by each other; .*: published, leave_last",
        ),
        ("finetune.text=lora", "finetune.text: learns the log without privacy"),
    ],
)
def test_what_would_leak_past_the_noise_is_refused(planted_folder, setting: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        check(Dataset.load(planted_folder), load_recipe("dp_filter", [setting]))


def test_a_list_of_items_that_is_made_of_the_log_is_refused(planted_folder) -> None:
    dataset = dataclasses.replace(Dataset.load(planted_folder), items=None, item_features={})
    with pytest.raises(UserError, match="without a file of items their list is what users took"):
        check(dataset, load_recipe("dp_filter"))
    check(dataset, load_recipe("ease"))


def test_rows_that_go_or_train_by_what_others_did_are_refused(planted_folder) -> None:
    dataset, recipe = Dataset.load(planted_folder), load_recipe("dp_filter")
    check(dataset, recipe)
    with pytest.raises(UserError, match="retention_days: found 30, counted from others' rows"):
        check(dataclasses.replace(dataset, retention_days=30.0), recipe)
    no_validation = np.where(dataset.published_split == 1, 0, dataset.published_split)
    with pytest.raises(UserError, match="found published, without validation rows"):
        check(dataclasses.replace(dataset, published_split=no_validation), recipe)


def test_an_encoder_that_learnt_a_log_is_refused(planted_folder, tmp_path) -> None:
    """It would bring the log into what counts as public content."""
    dataset, recipe = Dataset.load(planted_folder), load_recipe("dp_filter", [f"encoders.text={tmp_path}"])
    facts = {"kind": "lsa", "modality": "text"}
    (tmp_path / "encoder.json").write_text(json.dumps(facts | {"learnt_from": {"data": "a log", "split": "its train"}}))
    with pytest.raises(UserError, match=r"encoders\.text: .* learnt a log without privacy; allowed with dp_filter"):
        check(dataset, recipe)
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    check(dataset, recipe)
