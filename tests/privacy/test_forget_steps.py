"""A run that update and refit made forgets: it ends as if the user had been in none of the steps that led to it."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from crowd import HER, holding, stop_at
from nightly import LATE, make, write_partition

import gnnrec.update
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import train
from gnnrec.privacy import erase, retrain
from gnnrec.privacy import forget as module
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.recipe import load_recipe, with_overrides
from gnnrec.run_folder import Run

ERASE = ForgetConfig(erase=True)
OLDER = ("0", "1", "2")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """By the verbs and by who is not in it: a folder of `make`, made once."""
    made = {}

    def scene(verbs, without=None):
        if (verbs, without) not in made:
            root = tmp_path_factory.mktemp("scene") / "now"
            root.mkdir()
            made[verbs, without] = root
            make(root, verbs, without)
            if without is None:
                shutil.copytree(root, root.with_name("before"))
        root = made[verbs, without]
        if without is None:  # a run knows where its data is, so that each test has it at the same place
            shutil.rmtree(root)
            shutil.copytree(root.with_name("before"), root)
        return root

    return scene


def files(run: Path) -> dict[str, str]:
    return {path.name: sha256_of_file(path) for path in sorted(run.glob("*.safetensors"))}


def without_older(root: Path) -> None:
    for name in OLDER:
        shutil.rmtree(root / name, ignore_errors=True)


def measured(run: Path):
    return {key: value for key, value in json.loads((run / "update.json").read_text()).items() if key != "from"}


@pytest.mark.parametrize(
    ("verbs", "user"),
    [("tru", HER), pytest.param("Tur", HER, marks=pytest.mark.slow), pytest.param("tuu", LATE, marks=pytest.mark.slow)],
)
def test_it_is_the_run_of_data_that_never_had_her_though_the_older_runs_are_gone(scenes, verbs, user):
    root, never = scenes(verbs), scenes(verbs, user)
    before, told = files(root / "run"), Run.load(root / "run").provenance
    without_older(root)
    certificate = forget(root / "run", user, replace(ERASE, feedback=root / "feedback.jsonl"))
    first, each = {HER: (9, 1), LATE: (0, 5)}[user]
    assert certificate.complete and certificate.rows["log"] == first + each * verbs.count("u")
    assert files(root / "run") == files(never / "run") != before
    assert holding(user, root) == []
    names = {path.name for path in never.iterdir()} - {*OLDER}
    assert {path.name for path in root.iterdir()} == names | {"run.forgotten"}
    assert {path.name for path in (root / "people" / "pics").iterdir()} == {
        path.name for path in (never / "people" / "pics").iterdir()
    }
    run, clean = Run.load(root / "run"), Run.load(never / "run")
    assert run.user_ids == clean.user_ids and run.item_ids == clean.item_ids
    now = run.provenance
    assert [one["folder"] for one in now["earlier"]] == [one["folder"] for one in told["earlier"]]
    assert now["earlier"][0]["folder"] == str(root / "0")
    assert [one["fingerprint"] for one in now["earlier"]] == [one["fingerprint"] for one in clean.provenance["earlier"]]
    for key in ("started_from", "refit_of"):
        assert (now[key] or "").rpartition(" ")[0] == (told[key] or "").rpartition(" ")[0]
    if verbs.endswith("u"):
        assert measured(root / "run") == measured(never / "run")
        assert json.loads((root / "run" / "update.json").read_text())["from"] == str(root / str(len(verbs) - 2))


def test_a_refit_forgets_with_a_copy_of_the_data(scenes):
    root, never = scenes("tr"), scenes("tr", HER)
    without_older(root)
    certificate = forget(root / "run", HER, ForgetConfig(data=root / "copy", feedback=root / "feedback.jsonl"))
    assert files(root / "run") == files(never / "run") and certificate.original == str(root / "people")
    assert certificate.found == [] and holding(HER, root / "run", root / "copy", root / "feedback.jsonl") == []


def test_older_runs_that_know_her_are_told(scenes):
    root = scenes("tu")
    certificate = forget(root / "run", HER, ERASE)
    assert str(root / "0" / "users.parquet") in certificate.found and not certificate.complete
    assert all(name.startswith(str(root / "0") + "/") for name in certificate.found)
    assert forget(root / "0", HER).found == []


def test_what_came_after_the_last_update_loses_her_too(scenes):
    root, never = scenes("tu"), scenes("tu", HER)
    without_older(root)
    write_partition(root / "parts", root / "people", 2, None)
    certificate = forget(root / "run", HER, ERASE)
    assert certificate.rows["log"] == 9 + 2 and certificate.complete and holding(HER, root / "parts") == []
    assert files(root / "run") == files(never / "run")


def test_partitions_that_were_cleared_already_need_no_word(scenes):
    root, never = scenes("tu"), scenes("tu", HER)
    without_older(root)
    for name in ("people", "parts"):
        shutil.rmtree(root / name)
        shutil.copytree(never / name, root / name)
    assert forget(root / "run", HER).complete and files(root / "run") == files(never / "run")


STOPS = [  # what is called next, and for which time
    *[(erase, "_drop_records", number) for number in (2, 5)],
    *[(retrain, name, 1) for name in ("take_in", "refit", "discard", "_name", "write_json")],
    *[(retrain.finetuning, "train", 1), (retrain.shutil, "rmtree", 1), (retrain.shutil, "rmtree", 2)],
    *[(gnnrec.update, "newest", 1), (gnnrec.update, "write_json", 1), (module, "exchange", 1), (module, "find_id", 1)],
]


@pytest.fixture(scope="module")
def undisturbed(scenes):
    root = scenes("tru")
    without_older(root)
    told = forget(root / "run", HER, ERASE)
    return told, files(root / "run"), measured(root / "run")


def check_end(root, told, undisturbed):
    """How many files were searched is not compared: other tests fill the cache meanwhile, and a training that goes on
    has a second file of TensorBoard, named after its second."""
    before, *made = undisturbed
    own = [path for name in ("run", "people", "parts") for path in (root / name).rglob("*") if path.is_file()]
    assert told.searched >= len(own) > 10
    same = {"made": "", "seconds": 0.0, "searched": 0}
    assert (replace(told, **same), files(root / "run"), measured(root / "run")) == (replace(before, **same), *made)
    names = {path.name for path in root.iterdir()}
    assert names == {"people", "parts", "run", "run.forgotten", "feedback.jsonl"}
    assert holding(HER, root / "run", root / "run.forgotten", root / "people", root / "parts") == []


@pytest.mark.parametrize(("where", "name", "number"), [pytest.param(*one, id=f"{one[1]}-{one[2]}") for one in STOPS])
def test_a_call_that_is_stopped_anywhere_goes_on_to_the_same_end(scenes, undisturbed, where, name, number):
    root = scenes("tru")
    without_older(root)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, where, name, number)
        with pytest.raises(KeyboardInterrupt):
            forget(root / "run", HER, ERASE)
    assert HER in Run.load(root / "run").refused
    check_end(root, forget(root / "run", HER, ERASE), undisturbed)


def test_a_step_that_is_stopped_in_training_goes_on_from_its_checkpoint(scenes, undisturbed, monkeypatch):
    def stop(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    root, lines = scenes("tru"), list[str]()
    without_older(root)
    with monkeypatch.context() as patch:
        patch.setattr(gnnrec.update, "train", partial(train, on_epoch=stop))
        with pytest.raises(KeyboardInterrupt):
            forget(root / "run", HER, ERASE)
    told = forget(root / "run", HER, ERASE, lines.append)
    assert any("an interrupted training goes on" in line for line in lines)
    assert [line for line in lines if line.startswith("step")] == ["step 3 of 3: update"]
    check_end(root, told, undisturbed)


def test_a_call_with_other_data_begins_anew(scenes):
    root, never = scenes("tr"), scenes("tr", HER)
    without_older(root)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, retrain, "refit", 1)
        with pytest.raises(KeyboardInterrupt):
            forget(root / "run", HER, ForgetConfig(data=root / "copy", feedback=root / "feedback.jsonl"))
    told = forget(root / "run", HER, replace(ERASE, feedback=root / "feedback.jsonl"))
    assert told.complete and files(root / "run") == files(never / "run")
    assert Run.load(root / "run").provenance["dataset"]["path"] == str(root / "people")
    assert not list(root.glob("run.forgetting*"))


def test_what_cannot_be_taken_again_is_refused_in_one_line_and_nothing_is_changed(scenes):
    root = scenes("tu")
    before = files(root / "run"), sha256_of_file(root / "people" / "log.csv.gz")

    def refused(message, config=ERASE):
        with pytest.raises(UserError, match=message) as error:
            forget(root / "run", HER, config)
        assert "\n" not in str(error.value)
        assert (files(root / "run"), sha256_of_file(root / "people" / "log.csv.gz")) == before
        assert not (root / "run" / "due.json").exists()

    refused(r"people, \S+parts: holds 13 rows of this user; allowed: --erase", ForgetConfig())
    refused("a copy of its dataset lacks what its partitions name", ForgetConfig(data=root / "copy"))
    told = json.loads((root / "run" / "run.json").read_text())
    settings = with_overrides(load_recipe(), ["finetune.text=full"]).to_toml()
    for earlier, message in (
        ([], "does not say by which steps it was made"),
        ([told["earlier"][0] | {"settings": settings}], r"was fine-tuned in \S+/0, on the user too"),
        ([{"verb": "train"}], "expected a list of steps, each with verb, folder, settings"),
    ):
        (root / "run" / "run.json").write_text(json.dumps(told | {"earlier": earlier}))
        refused(message)
    (root / "run" / "run.json").write_text(json.dumps(told))
    (root / "parts" / "interactions-1.parquet").unlink()
    refused(r"interactions-1.parquet: no such file; the run was updated by it")


def test_an_encoder_that_learnt_from_the_log_of_an_earlier_step_is_refused(scenes, tmp_path):
    root = scenes("tu")
    earlier = Run.load(root / "0").provenance["dataset"]["fingerprint"]
    learnt = {"kind": "lsa", "modality": "text", "learnt_from": {"data": earlier, "split": {}}}
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text(json.dumps(learnt))
    with pytest.raises(UserError, match="has learnt from this user"):
        forget(root / "run", HER, replace(ERASE, settings=(f"encoders.text={tmp_path / 'encoder'}",)))


@pytest.mark.usefixtures("encryption_key")
def test_an_encrypted_run_stays_so_through_all_steps(tmp_path, scenes):
    root, plain = tmp_path / "now", scenes("tu", HER)
    root.mkdir()
    run = make(root, "tu", encrypt=True)
    without_older(root)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, retrain, "_name", 1)
        with pytest.raises(KeyboardInterrupt):
            forget(run.folder, HER, ERASE)
    places = [root / "run.forgetting" / "weights.safetensors", root / "run" / "due.json"]
    assert all(path.read_bytes().startswith(b"gnnrec\0") for path in places)
    assert forget(run.folder, HER, ERASE).complete
    assert (run.folder / "weights.safetensors").read_bytes().startswith(b"gnnrec\0")
    found, clean = Run.load(run.folder), Run.load(plain / "run")
    np.testing.assert_array_equal(found.user_vectors, clean.user_vectors)
    np.testing.assert_array_equal(found.item_vectors, clean.item_vectors)
