"""The verbs train and evaluate, from a dataset folder to a measured run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import gnnrec
import gnnrec.pipeline
from gnnrec.cli import main
from gnnrec.datasets import Dataset, SplitConfig, powerlaw, split
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.tracking import Tracker, read_log
from gnnrec.training import Trainer

LONG = ["train.epochs=40", "train.patience=40", "train.batch_size=64", "model.dim=16"]


@pytest.fixture(scope="module")
def whole(planted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that nobody disturbed."""
    return train(Dataset.load(planted_folder), tmp_path_factory.mktemp("whole") / "run", load_recipe(overrides=LONG))


@pytest.mark.parametrize("tables", ["whole", "mapped"])
def test_what_a_full_disk_kept_from_being_saved_needs_no_step_again(
    tables: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("train.epochs=2", "model.dim=8", "model.recent=0", "train.sampling=neighbours", f"train.tables={tables}")
    data, recipe, out = Dataset.load(tiny_data), load_recipe(overrides=few), tmp_path / "run"
    undisturbed = train(data, tmp_path / "whole", recipe)

    def full(*arguments: Any) -> None:
        raise UserError("graph.safetensors: cannot be written (No space left on device)")

    with monkeypatch.context() as patched:
        patched.setattr(gnnrec.pipeline, "save_run", full)
        with pytest.raises(UserError, match="No space left"):
            train(data, out, recipe)
    monkeypatch.setattr(Trainer, "step", full)
    name = "weights.safetensors"
    assert sha256_of_file(train(data, out, recipe).folder / name) == sha256_of_file(undisturbed.folder / name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_command_goes_on_to_the_same_weights(
    number: signal.Signals, planted_folder: Path, whole: Run, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ["train", str(planted_folder), "--out", str(out), "--json"]
    arguments += [part for setting in LONG for part in ("--set", setting)]
    environment = os.environ | {"PYTHONPATH": str(Path(gnnrec.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "gnnrec.cli", *arguments], env=environment, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while len(read_log(out)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert 3 <= len(read_log(out)) < 40, "it was stopped in the middle"
    assert (out / "checkpoint.safetensors").exists() and not (out / "run.json").exists()
    if number == signal.SIGINT:
        assert process.returncode == 1 and re.fullmatch(
            r"gnnrec: stopped in epoch \d+; the state is saved and the same command goes on", errors.strip()
        )
    with pytest.raises(UserError, match="holds an unfinished run"):
        Run.load(out)
    assert main(arguments) == 0
    for name in ("weights.safetensors", "embeddings.safetensors"):
        assert sha256_of_file(out / name) == sha256_of_file(whole.folder / name)
    rows, expected = read_log(out), read_log(whole.folder)
    assert [(row["epoch"], row["loss"]) for row in rows] == [(row["epoch"], row["loss"]) for row in expected]
    assert not (out / "checkpoint.safetensors").exists()


def test_a_resume_under_other_settings_or_other_content_is_refused(
    planted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Tracker, history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise InterruptedError

    data = shutil.copytree(planted_folder, tmp_path / "data")
    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(Tracker, "__call__", stop)
        train(Dataset.load(data), tmp_path / "run", load_recipe(overrides=LONG))
    with pytest.raises(UserError, match="was made under other settings or data"):
        train(Dataset.load(data), tmp_path / "run", load_recipe(overrides=[*LONG, "train.seed=1"]))
    np.save(data / "text.npy", np.load(data / "text.npy") + np.eye(60, 16, dtype=np.float32))
    with pytest.raises(UserError, match="was made under other settings or data"):
        train(Dataset.load(data), tmp_path / "run", load_recipe(overrides=LONG))


def test_a_finished_run_is_not_overwritten(planted_folder: Path, planted_run: Run) -> None:
    with pytest.raises(UserError, match="holds a finished run already; choose another folder"):
        train(Dataset.load(planted_folder), planted_run.folder)


def test_evaluate_ranks_the_test_rows_of_the_split(planted_folder: Path, planted_run: Run) -> None:
    test = split(Dataset.load(planted_folder), SplitConfig(**planted_run.recipe.split)).test
    found = evaluate(planted_run)
    assert found.users.tolist() == np.unique(test.user).tolist()
    scores = planted_run.model(planted_run.graph)
    scores = (scores.user @ scores.item.T).detach().numpy()
    scores[planted_run.train.user, planted_run.train.item] = -np.inf  # a published split: masked by train alone
    hits = []
    for user in found.users:
        wanted = set(test.item[test.user == user].tolist())
        best = np.argsort(-scores[user])[:10]
        hits.append(sum(item in wanted for item in best.tolist()) / len(wanted))
    assert found.metrics["recall@10"] == pytest.approx(np.mean(hits))
    # With val known too, it is history and cannot be recommended.
    other = evaluate(planted_run, mask="train+val")
    assert other.metrics != found.metrics


def test_rows_drawn_for_validation_from_a_published_train_are_known_at_test(
    planted_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(planted_folder, tmp_path / "data")
    log = pl.read_csv(folder / "interactions.csv").filter(pl.col("split") != "val")
    log.write_csv(folder / "interactions.csv")
    run = train(Dataset.load(folder), tmp_path / "run", load_recipe("ease"))
    both = (log["split"] == "train").sum()
    assert len(run.val) > 0 and len(run.train) + len(run.val) == both
    assert (
        evaluate(run).per_user["recall@10"].tolist() == evaluate(run, mask="train+val").per_user["recall@10"].tolist()
    )
    assert evaluate(run).metrics != evaluate(run, mask="train").metrics


def test_evaluate_says_what_is_wrong_in_one_line(planted_folder: Path, planted_run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--split: found 'train'; allowed: val, test"):
        evaluate(planted_run, split_name="train")
    with pytest.raises(UserError, match=r"--mask: found 'all'; allowed: train\+val, train"):
        evaluate(planted_run, mask="all")
    changed = shutil.copytree(planted_folder, tmp_path / "data")
    log = pl.read_csv(changed / "interactions.csv")
    log[1:].write_csv(changed / "interactions.csv")
    with pytest.raises(UserError, match="the data is not what .* was trained on; pass the right one by --data"):
        evaluate(planted_run, dataset=Dataset.load(changed))
    # The same data in another place is the same data.
    log.write_csv(changed / "interactions.csv")
    assert evaluate(planted_run, dataset=Dataset.load(changed)).metrics == evaluate(planted_run).metrics


def folder_with_times(folder: Path, method: str) -> Path:
    dataset = powerlaw(40, 30, 280)
    folder.mkdir()
    log = dataset.interactions
    columns = {"user": [f"u{user}" for user in log.user], "item": [f"i{item}" for item in log.item]}
    pl.DataFrame(columns | {"time": log.timestamp}).write_csv(folder / "interactions.csv")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "interactions.csv"\nuser = "user"\nitem = "item"\ntimestamp = "time"\n'
        f'[split]\nmethod = "{method}"\n'
    )
    return folder


def test_the_split_of_a_run_stays_when_the_dataset_names_another(tmp_path: Path) -> None:
    folder = folder_with_times(tmp_path / "data", "leave_last")
    run = train(Dataset.load(folder), tmp_path / "run", load_recipe("ease"))
    before = evaluate(run)
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("leave_last", "random"))
    after = evaluate(Run.load(tmp_path / "run"))
    assert after.metrics == before.metrics and after.num_users == before.num_users


@pytest.mark.parametrize(("method", "ordered"), [("leave_last", True), ("random", False)])
def test_a_model_may_use_the_order_only_where_the_split_keeps_it(method: str, ordered: bool, tmp_path: Path) -> None:
    folder = folder_with_times(tmp_path / "data", method)
    settings = ["train.epochs=2", "model.dim=8"]
    run = train(Dataset.load(folder), tmp_path / "run", load_recipe(overrides=settings))
    assert run.model.ordered == ordered
    assert evaluate(run).num_users > 10  # histories with val, whose rows have times either way
    val = run.val
    for user in np.unique(val.user) if ordered else ():
        assert val.timestamp[val.user == user].min() >= run.train.timestamp[run.train.user == user].max()


def test_the_log_holds_each_epoch_once_also_after_a_resume(tmp_path: Path) -> None:
    rows = [{"epoch": float(epoch), "loss": 1 / epoch} for epoch in (1, 2, 3)]
    for history in (rows[:1], rows[:2]):
        tracker = Tracker(tmp_path)
        tracker(history)
        tracker.close()
    resumed = Tracker(tmp_path)
    resumed(rows)
    resumed.close()
    assert resumed.events is not None
    assert read_log(tmp_path) == rows
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[2]) == rows[2]
    assert read_log(tmp_path / "nowhere") == []
