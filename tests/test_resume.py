"""A training that is killed goes on to the same bits, whatever model it is; on one and two threads, some do, too."""

from pathlib import Path

import pytest
import torch

from gnnrec.datasets import Dataset
from gnnrec.files import sha256_of_file
from gnnrec.models import MODELS, ClosedFormModel
from gnnrec.pipeline import train
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run
from gnnrec.search_space import with_settings
from gnnrec.tracking import Tracker

TRAINED = sorted(name for name, (model, _) in MODELS.items() if not issubclass(model, ClosedFormModel))
KEPT = ("weights.safetensors", "embeddings.safetensors", "lists.safetensors", "graph.safetensors", "metrics.json")


SAMPLED = {  # what steps on pieces of the graph keep: tables whose rows move where looked at, and what was drawn
    "lightgcn, neighbours": ("model.name=lightgcn", "train.sampling=neighbours", "train.fanout=4"),
    "lightgcn, temporal": ("model.name=lightgcn", "train.sampling=temporal", "graph.together=0"),
    "sign": ("model.name=sign", "train.sampling=neighbours", "graph.neighbors=0", "graph.together=0"),
}


def recipe_of(name: str) -> Recipe:
    settings = SAMPLED.get(name, (f"model.name={name}",))
    return load_recipe(overrides=["train.epochs=4", "train.batch_size=128", "train.validate_every=1", *settings])


def hashes(run: Run) -> dict[str, str]:
    return {name: sha256_of_file(run.folder / name) for name in KEPT if (run.folder / name).exists()}


@pytest.mark.parametrize("name", sorted({*TRAINED, *SAMPLED}))
def test_a_training_that_dies_goes_on_to_the_same_bits(
    name: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an epoch that is not in the checkpoint yet: weights, moments, averages, order and draws come out of it."""

    class Death(BaseException):
        """What nothing catches, as nothing catches SIGKILL."""

    def die(self: Tracker, history: list[dict[str, float]]) -> None:
        if len(history) == 3:
            raise Death

    dataset = Dataset.load(tiny_data)
    whole = train(dataset, tmp_path / "whole", recipe_of(name))
    with monkeypatch.context() as patched, pytest.raises(Death):
        patched.setattr(Tracker, "__call__", die)
        train(dataset, tmp_path / "dead", recipe_of(name))
    assert (tmp_path / "dead" / "checkpoint.safetensors").exists()
    assert hashes(train(dataset, tmp_path / "dead", recipe_of(name))) == hashes(whole)


# sasrec and tower sum in another order on two threads: other last bits. sgl does on some data.
SAME = ("lightgcn", "mf", "modality_gnn", "sign", "vbpr", "xsimgcl", "lightgcn, neighbours")
ONLY_ON_AS_MANY = ("sasrec", "sgl", "tower")


def test_each_model_is_held_to_its_bits_on_any_or_on_as_many_threads() -> None:
    assert {*SAME, *ONLY_ON_AS_MANY} == {*TRAINED, "lightgcn, neighbours"}


@pytest.mark.parametrize("threads", [1, 2])
def test_as_many_threads_end_with_the_same_bits(threads: int, tiny_data: Path, tmp_path: Path) -> None:
    dataset, usual, found = Dataset.load(tiny_data), torch.get_num_threads(), []
    recipes = {name: with_settings(recipe_of(name), {"train.epochs": 1}, "test") for name in ONLY_ON_AS_MANY}
    try:
        torch.set_num_threads(threads)
        for place in ("first", "second"):
            runs = {name: train(dataset, tmp_path / place / name, recipe) for name, recipe in recipes.items()}
            found.append({name: hashes(run) for name, run in runs.items()})
    finally:
        torch.set_num_threads(usual)
    assert found[0] == found[1]


def test_one_thread_and_two_end_with_the_same_bits(tiny_data: Path, tmp_path: Path) -> None:
    dataset, usual, found = Dataset.load(tiny_data), torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)  # of MKL and oneDNN, too
            runs = {name: train(dataset, tmp_path / f"{threads}" / name, recipe_of(name)) for name in SAME}
            assert {run.provenance["machine"]["threads"] for run in runs.values()} == {threads}
            found.append({name: hashes(run) for name, run in runs.items()})
    finally:
        torch.set_num_threads(usual)
    assert found[0] == found[1]
