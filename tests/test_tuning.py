"""Searching settings: what is best is found, nothing finished is lost, and the budget holds."""

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gnnrec
from gnnrec.cli import main
from gnnrec.datasets import Dataset, planted, powerlaw
from gnnrec.errors import UserError
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.search_space import SEARCH, Axis, parse_search
from gnnrec.tuning import Objective, Study, tune_settings

EASE = load_recipe("ease")
SHORT = ["train.epochs=4", "train.validate_every=1", "train.batch_size=128", "model.dim=8"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return planted("text", num_users=80, num_items=60)


def tried(study: Study) -> list[tuple[object, ...]]:
    """What does not depend on the clock."""
    return [(trial.number, trial.state, trial.values, trial.settings) for trial in study.trials]


def test_the_best_of_a_grid_is_what_training_it_gives(planted_folder: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(planted_folder)
    recipe = load_recipe(overrides=SHORT)
    search = ["train.learning_rate=1e-9,1e-2", "model.layers=0,2"]
    study = tune_settings(dataset, tmp_path / "study", recipe, search=search, trials=50, seeds=2)
    assert [trial.settings for trial in study.trials] == [
        {"train.learning_rate": rate, "model.layers": layers} for rate in (1e-9, 1e-2) for layers in (0, 2)
    ]
    found = {(trial.settings["train.learning_rate"], trial.settings["model.layers"]): trial for trial in study.trials}
    # Who learns is better than who does not, and untrained weights are better smoothed over the graph than raw.
    assert found[1e-2, 2].value > found[1e-9, 2].value > found[1e-9, 0].value
    assert study.best.value == max(trial.value for trial in study.trials)
    best = load_recipe(str(tmp_path / "study" / "best.toml"))
    assert best == study.recipe and best.train.learning_rate == 1e-2
    for seed in (0, 1):
        run = train(dataset, tmp_path / f"run{seed}", replace(best, train=replace(best.train, seed=seed)))
        assert study.best.values[seed] == evaluate(run, split_name="val").metrics["ndcg@20"]
    assert study.best.value == np.mean(study.best.values)


def test_a_range_is_searched_as_well_as_a_sweep(tmp_path: Path) -> None:
    log = powerlaw(150, 100, 2500)
    objective, search = Objective(log, EASE), ["model.l2=0.1..5000:log"]
    sweep = [
        objective.value(load_recipe("ease", [f"model.l2={l2}"]), lambda history: None)
        for l2 in np.geomspace(0.1, 5000, 40)
    ]
    assert max(sweep) > 1.5 * min(sweep), "the setting matters here"
    study = tune_settings(log, tmp_path / "study", EASE, search=search, trials=25)
    assert study.best.value >= 0.99 * max(sweep)
    l2 = [trial.settings["model.l2"] for trial in study.trials]
    assert 0.1 <= min(l2) < 10 < max(l2) <= 5000, "drawn by factors"
    # Twice the same, bit for bit.
    assert tried(tune_settings(log, tmp_path / "again", EASE, search=search, trials=4)) == tried(study)[:4]


def test_a_killed_study_goes_on_to_what_an_undisturbed_one_finds(planted_folder: Path, tmp_path: Path) -> None:
    def arguments(out: Path) -> list[str]:
        search = ["--search", "train.learning_rate=1e-3..1e-1:log model.layers=1,2,3", "--trials", "14"]
        return ["tune-settings", str(planted_folder), "--out", str(out), "--set", *SHORT, *search, "--json"]

    environment = os.environ | {"PYTHONPATH": str(Path(gnnrec.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-m", "gnnrec.cli", *arguments(tmp_path / "killed")],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(finished_rows(tmp_path / "killed")) < 11 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = finished_rows(tmp_path / "killed")
    assert 11 <= len(before) < 14, "it was stopped in the middle"
    assert main(arguments(tmp_path / "killed")) == 0
    assert main(arguments(tmp_path / "whole")) == 0
    assert finished_rows(tmp_path / "killed")[: len(before)] == before, "what was finished is kept, not run again"
    recipe = load_recipe(overrides=SHORT)
    search = ["train.learning_rate=1e-3..1e-1:log", "model.layers=1,2,3"]
    studies = [
        tune_settings(Dataset.load(planted_folder), tmp_path / name, recipe, search=search, trials=14)
        for name in ("killed", "whole")
    ]
    assert tried(studies[0]) == tried(studies[1])
    assert (tmp_path / "killed/best.toml").read_text() == (tmp_path / "whole/best.toml").read_text()


def finished_rows(study: Path) -> list[tuple[object, ...]]:
    """The finished trials, read past Optuna: what and when."""
    if not (study / "study.sqlite").exists():
        return []
    with sqlite3.connect(f"file:{study / 'study.sqlite'}?mode=ro", uri=True) as connection:
        try:
            query = "SELECT number, state, datetime_complete FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return list(connection.execute(query))
        except sqlite3.OperationalError:  # the tables are being made
            return []


def test_the_budget_is_of_the_whole_study(data: Dataset, tmp_path: Path) -> None:
    lines: list[str] = []
    search = ["model.l2=1..5000:log"]
    study = tune_settings(data, tmp_path / "trials", EASE, search=search, trials=3, say=lines.append)
    assert len(study.trials) == 3 and [line.partition(" of 3: model.l2=")[0] for line in lines] == [
        "trial 1", "trial 2", "trial 3",
    ]  # fmt: skip
    assert tried(tune_settings(data, tmp_path / "trials", EASE, search=search, trials=3)) == tried(study)
    more = tune_settings(data, tmp_path / "trials", EASE, search=search, trials=5)
    assert len(more.trials) == 5 and tried(more)[:3] == tried(study)
    began = time.monotonic()
    timed = tune_settings(data, tmp_path / "minutes", EASE, search=search, trials=10**6, minutes=0.02)
    assert time.monotonic() - began < 15 and 1 <= len(timed.trials) < 1000
    spent = sum(trial.seconds for trial in timed.trials) / 60
    assert len(tune_settings(data, tmp_path / "minutes", EASE, search=search, trials=10**6, minutes=spent).trials) == (
        len(timed.trials)
    )


def test_a_trial_longer_than_the_minutes_is_stopped_and_does_not_count(data: Dataset, tmp_path: Path) -> None:
    recipe, began = load_recipe(overrides=["train.epochs=100000", "train.patience=100000"]), time.monotonic()
    with pytest.raises(
        UserError, match=r"none of 0 trials came to an end; allow more --minutes, or fewer train.epochs"
    ):
        tune_settings(data, tmp_path, recipe, search=["model.layers=1,2"], minutes=0.01)
    assert time.monotonic() - began < 30


def test_a_trial_that_fails_is_recorded_and_the_study_goes_on(data: Dataset, tmp_path: Path) -> None:
    recipe = load_recipe("mf", ["train.epochs=3", "train.batch_size=64", "model.similarity=dot"])
    study = tune_settings(data, tmp_path / "some", recipe, search=["train.learning_rate=1e38,1e-2"])
    assert [trial.state for trial in study.trials] == ["failed", "complete"]
    failed = study.trials[0]
    assert failed.value is None and "lower train.learning_rate" in failed.failure and study.best.number == 2
    with pytest.raises(UserError, match=r"none of 1 trials? came to an end; trial 1: training: .* is not finite"):
        tune_settings(data, tmp_path / "all", recipe, search=["train.learning_rate=1e38"])


def test_hopeless_trials_are_stopped_early(data: Dataset, tmp_path: Path) -> None:
    recipe = load_recipe(overrides=["train.epochs=6", "train.validate_every=1", "train.batch_size=128", "model.dim=8"])
    search = ["train.learning_rate=0.01,0.011,0.012,0.013,0.014,1e-9"]
    study = tune_settings(data, tmp_path, recipe, search=search)
    assert [trial.state for trial in study.trials] == ["complete"] * 5 + ["pruned"]
    assert study.trials[5].value < study.best.value


def test_test_rows_have_no_say(data: Dataset, tmp_path: Path) -> None:
    test = data.published_split == 2
    assert test.sum() > 50
    item = data.interactions.item.copy()
    item[test] = np.random.default_rng(0).permutation(item[test])
    other = replace(data, interactions=replace(data.interactions, item=item))
    recipe, search = load_recipe(overrides=SHORT), ["train.learning_rate=1e-3..1e-1:log"]
    studies = [
        tune_settings(dataset, tmp_path / name, recipe, search=search, trials=3)
        for name, dataset in (("as it is", data), ("altered", other))
    ]
    assert tried(studies[0]) == tried(studies[1])
    objective = Objective(data, recipe)
    assert len(objective.parts.test) == len(objective.dataset.interactions) == 0


def test_a_study_is_one_of_its_settings_search_and_data(data: Dataset, tmp_path: Path) -> None:
    tune_settings(data, tmp_path, EASE, search=["model.l2=1,2"])
    others = [
        (data, load_recipe("ease", ["train.metric=ndcg@10"]), ["model.l2=1,2"]),
        (data, EASE, ["model.l2=1,3"]),
        (planted("image", num_users=80, num_items=60), EASE, ["model.l2=1,2"]),
    ]
    for dataset, recipe, search in others:
        with pytest.raises(UserError, match="was made under other settings, search or data; choose another --out"):
            tune_settings(dataset, tmp_path, recipe, search=search)
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another tune-settings is at work on it"):
            tune_settings(data, tmp_path, EASE, search=["model.l2=1,2"])
    (tmp_path / "study.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match=r"study.sqlite: not a readable study \(.*not a database"):
        tune_settings(data, tmp_path, EASE, search=["model.l2=1,2"])
    (tmp_path / "foreign").write_text("")
    with pytest.raises(UserError, match="holds foreign"):
        tune_settings(data, tmp_path, EASE, search=["model.l2=1,2"])


def test_without_validation_rows_there_is_nothing_to_choose_by(data: Dataset, tmp_path: Path) -> None:
    recipe = load_recipe("ease", ["split.method=random", "split.val_share=0.0"])
    with pytest.raises(UserError, match="tune-settings: the split of planted-text has no validation rows"):
        tune_settings(data, tmp_path, recipe)


def test_ranges_and_choices_are_read() -> None:
    axes = parse_search(["train.temperature=0.1..0.5:log model.layers=1,2,3", "model.dim=8..64"], Recipe())
    assert axes == (
        Axis("train.temperature", low=0.1, high=0.5, log=True),
        Axis("model.layers", (1, 2, 3)),
        Axis("model.dim", low=8, high=64),
    )
    assert type(axes[2].low) is int
    (axis,) = parse_search(["train.weight_decay=0..1"], Recipe())
    assert type(axis.high) is float  # as the setting is
    assert parse_search(["encoders.text=../a,use"], Recipe()) == (Axis("encoders.text", ("../a", "use")),)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("model.layer=1,2", r"--search model.layer: unknown key 'layer'; allowed: dim, layers, fusion, .*"),
        ("modle.layers=1,2", r"--search modle.layers: unknown section 'modle'; allowed: model, encoders, graph, train"),
        ("profiles.calls=1..9", r"--search profiles.calls: unknown section 'profiles'; allowed: model, .*"),
        ("model.layers", r"--search 'model.layers': expected section.key=LOW..HIGH, =LOW..HIGH:log or =a,b,c"),
        ("train.temperature=0.5..0.1", r".*'0.5..0.1', which is empty; allowed: LOW..HIGH with LOW below HIGH"),
        ("model.layers=2..2", r".*which is empty; .*"),
        ("model.layers=0.5..2", r".*found '0.5..2'; allowed: LOW..HIGH of whole numbers, or a,b,c"),
        ("train.temperature=a..b", r".*found 'a..b'; allowed: LOW..HIGH of numbers, or a,b,c"),
        ("train.temperature=0.1..inf", r".*found '0.1..inf'; allowed: LOW..HIGH of numbers, or a,b,c"),
        ("train.weight_decay=0..1:log", r".*allowed with :log: LOW above 0"),
        ("train.temperature=0.1..1:lin", r".*found ':lin'; allowed: :log, or nothing"),
        ("train.temperature=-1..1", r"train.temperature: found -1.0; allowed: 0 or more"),
        ("train.temperature=0.1,warm", r"--search: train.temperature: found 'warm'; allowed: a value of type float"),
        ("model.fusion=mean,sum", r"model.fusion: found 'sum'; allowed: mean, .*"),
        ("model.item_bias=0..1", r"--search model.item_bias: found '0..1'; allowed: true,false"),
        ("model.layers=1,2 model.layers=3", r"--search model.layers: is there twice; allowed: once"),
        ("split.val_share=0.1,0.2", r"--search split.val_share: cannot be searched: all trials have to be .*"),
        ("train.metric=ndcg@10,mrr@10", r"--search train.metric: cannot be searched: .*"),
    ],
)
def test_a_wrong_search_is_one_line(search: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_search([search], Recipe())
    assert re.fullmatch(message, str(caught.value)), str(caught.value)


@pytest.mark.parametrize("name", SEARCH)
def test_every_default_search_fits_its_model(name: str) -> None:
    assert parse_search([], Recipe.from_dict({"model": {"name": name}}, "test"))


def test_a_trained_model_without_a_search_of_its_own_has_the_usual_one() -> None:
    keys = [axis.key for axis in parse_search([], load_recipe("mf"))]
    assert keys == ["train.temperature", "train.learning_rate"]


def test_a_model_without_settings_cannot_be_searched() -> None:
    with pytest.raises(UserError, match=r"--search: none is known for popularity; give section.key=LOW..HIGH or"):
        parse_search([], load_recipe("popularity"))


def test_the_command(planted_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["tune-settings", str(planted_folder), "--recipe", "ease", "--out", str(tmp_path / "study")]
    assert main([*arguments, "--search", "model.l2=1,100"]) == 0
    out, err = capsys.readouterr()
    assert "ndcg@20 on validation, the best of 2 trials" in out and out.rstrip().endswith("best.toml")
    assert err.startswith("trial 1 of 30: model.l2=1: ndcg@20 0.")
    assert main([*arguments, "--search", "model.l2=1,100", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == "" and document["best"]["settings"]["model.l2"] in (1.0, 100.0) and len(document["trials"]) == 2
    assert main([*arguments, "--trials", "0"]) == 2
    assert capsys.readouterr().err == "gnnrec: --trials: found 0; allowed: above 0\n"
    assert main(["train", str(planted_folder), "--out", str(tmp_path / "run"), "--recipe", document["recipe"]]) == 0


def test_a_study_that_cannot_be_written_says_so_and_goes_on(data: Dataset, tmp_path: Path) -> None:
    """A full disk, as SQLite would tell of it, from the second trial on."""
    study, search = tmp_path / "study", ["model.l2=1,10,100"]

    def change(statement: str) -> None:
        with sqlite3.connect(study / "study.sqlite") as file:
            file.execute(statement)

    def fill(line: str) -> None:
        change("CREATE TRIGGER full BEFORE INSERT ON trials BEGIN SELECT RAISE(FAIL, 'disk is full'); END")

    with pytest.raises(UserError, match=r"study.sqlite: could not be written: what is finished is kept.*disk is full"):
        tune_settings(data, study, EASE, search=search, say=fill)
    change("DROP TRIGGER full")
    assert tried(tune_settings(data, study, EASE, search=search)) == tried(
        tune_settings(data, tmp_path / "other", EASE, search=search)
    )
