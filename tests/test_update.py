"""A run that takes in what came later: planted data in two parts, of which the second is learnt in few steps."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import gnnrec.update
from gnnrec.datasets import Dataset, planted
from gnnrec.datasets.dataset import SPLIT_NAMES
from gnnrec.due import mark_due
from gnnrec.errors import UserError
from gnnrec.evaluation import evaluate_ranking
from gnnrec.fingerprints import fingerprint
from gnnrec.models import model_scorer
from gnnrec.pipeline import held_out, train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.training import Interrupted
from gnnrec.update import update

USERS, ITEMS, OLD_ITEMS, OLD_USERS = 200, 100, 85, 170
SETTINGS = (
    "train.batch_size=128",
    "model.dim=16",
    "model.factors=false",
    "model.paths=false",
    "model.spectrum=false",
    "train.patience=50",
)
EPOCHS = 20


def write_parts(folder: Path, made: Dataset, late: np.ndarray) -> None:
    """FOLDER/old and FOLDER/new: the rows of `late` [E] and the last items arrive later; FOLDER/whole: all at once."""
    log = made.interactions
    rows = pl.DataFrame(
        {
            "user": [made.user_ids[user] for user in log.user],
            "item": [made.item_ids[item] for item in log.item],
            "split": [SPLIT_NAMES[part] for part in made.published_split],
        }
    )
    items = pl.DataFrame({"item": made.item_ids, "title": [f"Title of {name}" for name in made.item_ids]})
    described = [
        '[interactions]\npath = "interactions.parquet"\nuser = "user"\nitem = "item"\nsplit = "split"',
        '[items]\npath = "items.parquet"\nid = "item"\ntext = ["title"]',
        *(f'[features.{name}]\npath = "{name}.npy"' for name in made.item_features),
    ]
    for name, some, of_items in (("old", ~late, slice(OLD_ITEMS)), ("whole", late | True, slice(None))):
        (folder / name).mkdir()
        rows.filter(some).write_parquet(folder / name / "interactions.parquet")
        items[of_items].write_parquet(folder / name / "items.parquet")
        for modality, values in made.item_features.items():
            np.save(folder / name / f"{modality}.npy", values[of_items])
        (folder / name / "dataset.toml").write_text("\n".join(described))
    (folder / "new").mkdir()
    rows.filter(late).write_parquet(folder / "new" / "interactions-2.parquet")
    items[OLD_ITEMS:].write_parquet(folder / "new" / "items-2.parquet")
    for modality, values in made.item_features.items():
        np.save(folder / "new" / f"items-2.{modality}.npy", values[OLD_ITEMS:])


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """New users, new items, and a third of everybody's rows come later."""
    folder = tmp_path_factory.mktemp("parts")
    made = planted("text", num_users=USERS, num_items=ITEMS, cold_share=0.0, rows_per_user=10)
    log = made.interactions
    late = (log.item >= OLD_ITEMS) | (log.user >= OLD_USERS) | (np.arange(len(log)) % 3 == 0)
    write_parts(folder, made, late)
    return folder


@pytest.fixture(scope="module")
def old(parts: Path) -> Run:
    recipe = load_recipe(overrides=[*SETTINGS, f"train.epochs={EPOCHS}"])
    return train(Dataset.load(parts / "old"), parts / "before", recipe)


@pytest.fixture(scope="module")
def made(parts: Path, old: Run) -> gnnrec.update.Update:
    return update(old, parts / "new", parts / "after", ["train.epochs=4"])


def test_the_data_are_those_of_one_folder(parts: Path, made: gnnrec.update.Update) -> None:
    grown, whole = made.run.dataset(), Dataset.load(parts / "whole")
    assert grown.user_ids == whole.user_ids and grown.item_ids == whole.item_ids
    keys = [np.sort(log.user.astype(int) * ITEMS + log.item) for log in (grown.interactions, whole.interactions)]
    np.testing.assert_array_equal(*keys)
    for modality, values in whole.item_features.items():
        np.testing.assert_array_equal(grown.item_features[modality], values)
    assert not len(grown.rejected)
    assert fingerprint(grown) == made.run.provenance["dataset"]["fingerprint"]


def test_few_steps_reach_what_a_training_from_the_beginning_does(
    parts: Path, old: Run, made: gnnrec.update.Update
) -> None:
    recipe = load_recipe(overrides=[*SETTINGS, f"train.epochs={EPOCHS}"])
    scratch = train(made.run.dataset(), parts / "scratch", recipe)
    newest = made.document["newest"]["all"]
    test = held_out(made.run).test
    found = [
        evaluate_ranking(model_scorer(run.model, run.graph), relevant=test, train=run.train, seen=run.train, ks=(10,))
        for run in (made.run, scratch)
    ]
    ours, theirs = (one.metrics["ndcg@10"] for one in found)
    assert made.run.provenance["updates"] * 4 < scratch.provenance["updates"]
    assert ours > 0.9 * theirs
    assert newest["difference"]["ndcg@10"]["interval"][0] > 0  # new items are in it, which the old run cannot find
    assert newest["after"]["ndcg@10"] > 1.1 * newest["before"]["ndcg@10"]


def test_the_drift_is_what_was_made(made: gnnrec.update.Update, parts: Path) -> None:
    new = made.document["new"]
    late = pl.read_parquet(parts / "new" / "interactions-2.parquet")
    of_new_items = late["item"].is_in([f"i{place}" for place in range(OLD_ITEMS, ITEMS)]).mean()
    assert new["rows"] == len(late) and new["items"] == ITEMS - OLD_ITEMS and new["users"] == USERS - OLD_USERS
    assert new["rows_of_new_items"] == pytest.approx(of_new_items)
    popularity = made.document["drift"]["popularity"]
    assert popularity["jensen_shannon"] > popularity["jensen_shannon_by_chance"]  # a sixth of the rows is of new items
    features = made.document["drift"]["features"]
    assert set(features) == {"text", "image", "audio"}
    assert all(
        one["items"] == ITEMS - OLD_ITEMS and one["mean_shift"] < 3 * one["by_chance"] for one in features.values()
    )
    assert json.loads((parts / "after" / "update.json").read_text()) == made.document


def test_no_row_that_the_old_run_learnt_is_tested(old: Run, made: gnnrec.update.Update) -> None:
    def pairs(run: Run, log: object) -> set[tuple[str, str]]:
        return {(run.user_ids[user], run.item_ids[item]) for user, item in zip(log.user, log.item)}  # type: ignore[attr-defined]

    assert not pairs(made.run, held_out(made.run).test) & pairs(old, old.train)
    assert pairs(old, old.train) <= pairs(made.run, made.run.train)


def test_a_stopped_update_goes_on_to_the_same_weights(
    parts: Path, old: Run, made: gnnrec.update.Update, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(gnnrec.update, "train", partial(train, on_epoch=stop))
        with pytest.raises(Interrupted):
            update(old, parts / "new", tmp_path / "run", ["train.epochs=4"])
    assert not (tmp_path / "run" / "run.json").exists()
    again = update(old, parts / "new", tmp_path / "run", ["train.epochs=4"])
    for name, value in made.run.model.state_dict().items():
        assert torch.equal(value, again.run.model.state_dict()[name]), name


def test_an_update_that_was_stopped_before_it_was_measured_is_measured_and_not_trained_again(
    parts: Path, old: Run, made: gnnrec.update.Update, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made.run.folder, tmp_path / "run")
    (tmp_path / "run" / "update.json").unlink()
    with pytest.raises(UserError, match="holds a finished run already"):
        update(old, parts / "new", tmp_path / "run", ["train.epochs=5"])  # another one
    monkeypatch.delattr(gnnrec.update, "train")
    again = update(old, parts / "new", tmp_path / "run", ["train.epochs=4"])
    assert again.document == made.document == json.loads((tmp_path / "run" / "update.json").read_text())


def test_the_command_takes_what_is_new_and_says_when_nothing_is(
    parts: Path, old: Run, one_document: Callable, run_command: Callable, tmp_path: Path
) -> None:
    few = ("--set", "train.epochs=1")
    document = one_document("update", old.folder, "--with", parts / "new", "--out", tmp_path / "run", *few)
    assert document["new"]["items"] == ITEMS - OLD_ITEMS
    status, out, _ = run_command("evaluate", tmp_path / "run")
    assert status == 0 and "ndcg@10" in out
    status, _, err = run_command("update", tmp_path / "run", "--with", parts / "new", "--out", tmp_path / "next", *few)
    assert status == 2 and "nothing new in it; 2 files of it known already" in err


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["model.dim=8"], "weights of the run fit its own model"), (["train.epoch=8"], "unknown key")],
)
def test_what_does_not_fit_is_refused(parts: Path, old: Run, tmp_path: Path, settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        update(old, parts / "new", tmp_path / "run", settings)


def test_a_private_run_and_one_that_is_due_to_forget_are_refused(parts: Path, old: Run, tmp_path: Path) -> None:
    private = replace(old, provenance=old.provenance | {"privacy": {"epsilon": 1.0}})
    with pytest.raises(UserError, match="would spend epsilon twice"):
        update(private, parts / "new", tmp_path / "run")
    copied = Run.load(shutil.copytree(old.folder, tmp_path / "copied"))
    mark_due(copied.folder, "u1")
    with pytest.raises(UserError, match="users are due to be forgotten"):
        update(copied, parts / "new", tmp_path / "run")


def test_partitions_of_an_unknown_shape_are_refused_in_one_line(parts: Path, old: Run, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="nothing new in it; expected some of interactions"):
        update(old, tmp_path / "new", tmp_path / "run")
    pl.DataFrame({"user": ["u1"], "thing": ["i1"]}).write_parquet(tmp_path / "new" / "interactions-1.parquet")
    with pytest.raises(UserError, match=r"interactions-1.parquet: no column 'item'"):
        update(old, tmp_path / "new", tmp_path / "run")
    (tmp_path / "new" / "interactions-1.parquet").unlink()
    pl.DataFrame({"item": ["i999"]}).write_parquet(tmp_path / "new" / "items-1.parquet")
    with pytest.raises(UserError, match=r"items-1.text.npy: no such file; features of text are made elsewhere"):
        update(old, tmp_path / "new", tmp_path / "run")
