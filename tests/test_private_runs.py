"""gnnrec train --epsilon: what it makes, what it says, and what it refuses."""

import dataclasses

import pytest

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.private_runs import check_private, private_recipe
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run


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


def test_a_model_without_privacy_is_refused(planted_folder, tmp_path, run_command) -> None:
    typed = ("train", planted_folder, "--out", tmp_path / "run", "--recipe", "ease", "--epsilon", "2")
    status, _, said = run_command(*typed)
    assert (status, said) == (
        2,
        "gnnrec: train --epsilon: found the model ease, which has no privacy; allowed: dp_filter, dp_tower\n",
    )


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("split.min_core=2", "split.min_core: found 2, by which users depend on each other; allowed with dp_filter: 0"),
        ("graph.robust=0.01", "graph.robust: found 0.01, by which users depend on each other"),
        ("finetune.text=lora", "finetune.text: learns the log without privacy"),
    ],
)
def test_what_would_leak_past_the_noise_is_refused(planted_folder, setting: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        check_private(Dataset.load(planted_folder), load_recipe("dp_filter", [setting]))


def test_a_list_of_items_that_is_made_of_the_log_is_refused(planted_folder) -> None:
    dataset = dataclasses.replace(Dataset.load(planted_folder), items=None, item_features={})
    with pytest.raises(UserError, match="without a file of items their list is what users took"):
        check_private(dataset, load_recipe("dp_filter"))
    check_private(dataset, load_recipe("ease"))
