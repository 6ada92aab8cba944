"""A run trained once more on its validation rows too: the same as a training on both parts with what was chosen."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import gnnrec.refit
from gnnrec.cli import main
from gnnrec.datasets import Dataset, Split, join_logs
from gnnrec.encoders import encode_dataset
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS
from gnnrec.models.closed_forms import SPECTRUM
from gnnrec.models.factors import SETTINGS, fit_factors
from gnnrec.models.modality_gnn import ModalityGNN
from gnnrec.models.paths import path_parts
from gnnrec.models.slim import matrix_of
from gnnrec.models.spectrum import first_waves, fit_spectrum
from gnnrec.pipeline import evaluate, fit_model, held_out, train, training_graph
from gnnrec.ranking import embedding_scorer
from gnnrec.recipe import load_recipe, with_overrides
from gnnrec.refit import refit
from gnnrec.run_folder import Run
from gnnrec.training import Interrupted

PLAIN = ("train.epochs=6", "model.dim=8", "train.batch_size=128", "train.minutes=60")


def trained(tiny_data: Path, out: Path, *settings: str, recipe: str = "default") -> Run:
    return train(Dataset.load(tiny_data), out, load_recipe(recipe, settings))


@pytest.fixture(scope="module")
def old(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tiny_data, tmp_path_factory.mktemp("refit") / "old", *PLAIN)


@pytest.fixture(scope="module")
def other(old: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """By the command, under a seed of its own."""
    out = tmp_path_factory.mktemp("refit") / "other"
    assert main(["refit", str(old.folder), "--out", str(out), "--seed", "7"]) == 0
    return Run.load(out)


@pytest.fixture(scope="module")
def new(old: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.load(refit(old, tmp_path_factory.mktemp("refit") / "new").folder)


def test_it_learns_train_and_validation_rows_and_no_test_row(old: Run, new: Run) -> None:
    assert len(new.train) == len(old.train) + len(old.val)
    assert len(new.val) == 0
    test = held_out(old).test
    assert not {*zip(new.train.user, new.train.item)} & {*zip(test.user, test.item)}
    assert evaluate(new).num_users == evaluate(old).num_users


def test_its_weights_are_those_of_the_best_number_of_epochs_on_both_parts(
    old: Run, new: Run, other: Run, tiny_data: Path
) -> None:
    dataset, epochs = Dataset.load(tiny_data), old.provenance["best_epoch"]
    assert 1 <= epochs <= 6
    both = Split(join_logs(old.train, old.val), old.val.rows(np.zeros(0, dtype=np.int64)), held_out(old).test)
    for run, seed in ((new, 0), (other, 7)):
        recipe = with_overrides(old.recipe, [f"train.epochs={epochs}", f"train.seed={seed}"])
        graph = training_graph(dataset, both, *encode_dataset(dataset, recipe.encoders), recipe)
        expected, _ = fit_model(graph, both.val, recipe)
        found = dict(run.model.named_parameters())
        for name, value in expected.named_parameters():
            assert torch.equal(found[name], value), name
        assert run.provenance["epochs"] == epochs
        assert run.recipe.train.minutes == 0  # so many epochs were chosen, however long they take


def test_what_was_chosen_on_validation_is_taken_and_fitted_to_all_rows(old: Run, new: Run) -> None:
    graph = new.graph
    chosen, model = (ModalityGNN(old.recipe.model, graph, torch.Generator().manual_seed(0)) for _ in range(2))
    l2, confidence = SETTINGS[2]
    chosen.factor_items, chosen.factor_settings = torch.ones(1, 1), torch.tensor([0.5, l2, confidence])
    waves = first_waves(fit_spectrum(graph), 8)._replace(weight=torch.tensor([0.25]))
    for name, part in zip(SPECTRUM, waves):  # of as many waves; what they are is not taken
        chosen.register_buffer(name, torch.zeros_like(part) if name == "spectrum_vectors" else part)
    chosen.path_offsets, chosen.path_weights = torch.zeros(1), torch.tensor([0.25, 1.0])
    model.finish_like(graph, chosen)
    assert all(torch.equal(model.get_buffer(name), part) for name, part in zip(SPECTRUM, waves))
    assert torch.equal(model.factor_items, fit_factors(graph)[2].item)
    assert torch.equal(model.factor_settings, chosen.factor_settings)
    plain = ModalityGNN(replace(old.recipe.model, paths=False), graph, torch.Generator().manual_seed(0))
    plain.factor_items, plain.factor_settings = model.factor_items, model.factor_settings
    for name, part in zip(SPECTRUM, waves):
        plain.register_buffer(name, part)
    with torch.no_grad():
        embeddings = plain(graph)
    together, following = path_parts(graph, embedding_scorer(embeddings.user, embeddings.item), 20, 5.0)
    found = matrix_of(model.path_offsets, model.path_columns, model.path_values)
    assert np.allclose(found.toarray(), (0.25 * together + following).toarray())


def test_nothing_is_added_where_validation_wanted_nothing(new: Run, old: Run) -> None:
    chosen, model = (ModalityGNN(old.recipe.model, new.graph, torch.Generator().manual_seed(0)) for _ in range(2))
    model.finish_like(new.graph, chosen)
    assert not len(model.factor_items) and not len(model.spectrum_vectors) and not len(model.path_offsets)


def test_counts_of_popularity_are_those_of_both_parts(tiny_data: Path, tmp_path: Path) -> None:
    old = trained(tiny_data, tmp_path / "old", recipe="popularity")
    new = refit(old, tmp_path / "new")
    (counts,) = new.model.state_dict().values()
    expected = np.bincount(np.concatenate([old.train.item, old.val.item]), minlength=len(old.item_ids))
    assert np.array_equal(counts.numpy(), expected)


def test_a_log_whose_order_means_nothing_stays_without_one(tiny_data: Path, tmp_path: Path) -> None:
    old = trained(tiny_data, tmp_path / "old", *PLAIN, "split.method=random")
    assert "time" not in old.graph[INTERACTS]
    assert "time" not in refit(old, tmp_path / "new").graph[INTERACTS]


def test_a_stopped_refit_goes_on_to_the_same_weights(
    old: Run, new: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(gnnrec.refit, "train", partial(train, on_epoch=stop))
        with pytest.raises(Interrupted):
            refit(old, tmp_path / "new")
    assert (tmp_path / "new" / "checkpoint.safetensors").exists()
    again = refit(old, tmp_path / "new")
    for name, value in new.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], value), name


def test_what_cannot_be_refitted_is_refused_in_one_line(new: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no validation rows that could be learnt"):
        refit(new, tmp_path / "again")


def test_the_command(old: Run, tmp_path: Path, run_command) -> None:
    status, out, _ = run_command("refit", str(old.folder), "--out", str(tmp_path / "new"), "--json")
    assert status == 0
    assert f'"rows": {len(old.train) + len(old.val)}' in out
    status, _, error = run_command("refit", str(tmp_path / "nowhere"), "--out", str(tmp_path / "other"))
    assert status != 0 and "nowhere" in error and len(error.strip().splitlines()) == 1
