"""A call of `gnnrec forget` that is stopped, anywhere: the same command then certifies what an undisturbed one does."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import polars as pl
import pytest
from crowd import HER, SETTINGS, holding, stop_at, write_people

from gnnrec import due, vault
from gnnrec.datasets import Dataset, Feedback
from gnnrec.encoders.cache import FeatureCache
from gnnrec.encoders.encode import content_hash
from gnnrec.errors import UserError
from gnnrec.finetuning import train
from gnnrec.language.answers import AnswerCache
from gnnrec.privacy import certificate, erase, retrain
from gnnrec.privacy import forget as module
from gnnrec.privacy.forget import ForgetConfig, forget, forget_later
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

AT = [  # what is called next, and for which time
    *[(module, "discard", number) for number in (1, 2)],
    *[(module, "leave_due", number) for number in (1, 2, 3)],
    *[(module, name, 1) for name in ("mark_due", "drop_features", "forget_events", "drop_profiles", "retrain")],
    *[(module, name, 1) for name in ("exchange", "compared", "drop_answers", "exports_among", "find_id")],
    *[(module, "Certificate", 1), (certificate, "write_json", 1), (certificate, "write_text", 1)],
]
WAYS = {
    "data": [*AT, (module, "copy_without", 1)],
    "erase": [*AT, (module, "erase_in_place", 1), *[(erase, "_drop_records", number) for number in (1, 2, 3)]],
}
STOPS = [pytest.param(way, *at, id=f"{way}-{at[1]}-{at[2]}") for way, all_of in WAYS.items() for at in all_of]


def config(place, way):
    return ForgetConfig(data=place / "copy") if way == "data" else ForgetConfig(erase=True)


def timeless(told):
    return replace(told, made="", seconds=0.0)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A run on people and on 10 of 12 events, two of these hers; features and answers in the cache. Each test begins
    at the same place, since a run knows where its data is. With what an undisturbed call certifies."""
    root = tmp_path_factory.mktemp("stopped")
    place, cache = root / "now", root / "now" / "cache"
    write_people(place / "people")
    event = '{"user": "%s", "item": "i1", "timestamp": 2000000}\n'
    users = [HER, "u7", "new", HER, *(f"u{number}" for number in range(1, 9))]
    log = place / "run.feedback.jsonl"
    log.write_text("".join(event % name for name in users))
    with FeatureCache(cache / "features", "one", 2) as features:
        features.store({content_hash(text): pl.Series([1.0, 2.0]).to_numpy() for text in ("Rome", "Oslo")})
    with AnswerCache(cache / "llm" / "answers.sqlite") as answers:
        answers.put("key", f"what {HER} likes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNNREC_CACHE", str(cache))
        train(
            Dataset.load(place / "people", Feedback(path=log, num_events=10)),
            place / "run",
            load_recipe(None, SETTINGS),
        )
        shutil.copytree(place, root / "before")
        undisturbed = {}
        for way in WAYS:
            undisturbed[way] = timeless(forget(place / "run", HER, config(place, way)))
            restore(place)
    return place, undisturbed


def restore(place):
    shutil.rmtree(place)
    shutil.copytree(place.with_name("before"), place)


@pytest.fixture
def begin(scene, own_cache, monkeypatch):
    place, undisturbed = scene
    restore(place)
    monkeypatch.setenv("GNNREC_CACHE", str(place / "cache"))
    return place, undisturbed


def check_end(place, told, undisturbed):
    assert timeless(told) == undisturbed
    assert Run.load(place / "run").provenance["dataset"]["feedback"]["num_events"] == 8
    names = {path.name for path in place.iterdir() if path.name != "copy"}
    assert names == {"people", "cache", "run", "run.feedback.jsonl", "run.forgotten"}
    assert not (place / "run" / "due.json").exists() and holding(HER, place / "run", place / "run.forgotten") == []
    with pytest.raises(UserError, match="no user with the id"):
        forget(place / "run", HER)


def test_what_an_undisturbed_call_certifies(scene):
    for told in scene[1].values():
        assert told.rows == {"log": 9, "users": 1, "friends": 2} and told.feedback_events == 2 and told.retrained
        assert (told.cached_features, told.cached_answers, told.found) == (1, 1, [])
        assert all(one["before"] != one["after"] for one in told.files) and len(told.files) == 3


@pytest.mark.parametrize(("way", "where", "name", "number"), STOPS)
def test_a_call_that_is_stopped_anywhere_goes_on_to_the_whole_certificate(begin, way, where, name, number):
    place, undisturbed = begin
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, where, name, number)
        with pytest.raises(KeyboardInterrupt):
            forget(place / "run", HER, config(place, way))
    if (name, number) not in (("discard", 1), ("mark_due", 1)):  # up to these nothing is changed
        assert HER in Run.load(place / "run").refused and holding(HER, place / "run" / "due.json") == []
    check_end(place, forget(place / "run", HER, config(place, way)), undisturbed[way])


@pytest.mark.parametrize("way", WAYS)
def test_a_run_that_is_half_removed_is_removed(begin, way):
    place, undisturbed = begin

    def half(folder):
        (folder / "users.parquet").unlink(missing_ok=True)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retrain, "shutil", SimpleNamespace(rmtree=half))
            with pytest.raises(KeyboardInterrupt):
                forget(place / "run", HER, config(place, way))
    assert (place / "run.forgetting.gone").exists()
    check_end(place, forget(place / "run", HER, config(place, way)), undisturbed[way])


def test_a_folder_that_nobody_needs_is_removed_whatever_is_in_it(begin):
    place, _ = begin
    shutil.copytree(place / "run", place / "run.forgetting")
    (place / "run.forgetting" / "users.parquet").unlink()
    with pytest.raises(UserError, match="no user with the id"):
        forget(place / "run", "nobody")
    assert not list(place.glob("run.forgetting*"))


@pytest.mark.parametrize(("at", "trained_on"), [("exchange", "people"), ("compared", "copy")])
def test_a_call_that_goes_on_in_another_way_says_what_the_run_is_trained_on(begin, at, trained_on):
    place, undisturbed = begin
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, module, at)
        with pytest.raises(KeyboardInterrupt):
            forget(place / "run", HER, config(place, "data"))
    told = forget(place / "run", HER, config(place, "erase"))
    assert (told.data, told.original, told.rows) == (str(place / trained_on), None, undisturbed["erase"].rows)
    assert Run.load(place / "run").provenance["dataset"]["path"] == told.data and told.retrained


def test_what_is_trained_already_is_not_trained_again(begin, monkeypatch):
    place, undisturbed = begin
    stop_at(monkeypatch, module, "exchange")
    with pytest.raises(KeyboardInterrupt):
        forget(place / "run", HER, config(place, "erase"))
    monkeypatch.undo()
    monkeypatch.setenv("GNNREC_CACHE", str(place / "cache"))
    stop_at(monkeypatch, retrain.finetuning, "train")
    check_end(place, forget(place / "run", HER, config(place, "erase")), undisturbed["erase"])


def test_one_user_after_the_other(begin, monkeypatch):
    """Events and rows of both are counted from what a run was trained with: who is half forgotten comes first."""
    place, undisturbed = begin
    forget_later(place / "run", "u9")
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, module, "drop_profiles")
        with pytest.raises(KeyboardInterrupt):
            forget(place / "run", HER, config(place, "erase"))
    with pytest.raises(UserError, match="about another user was stopped"):
        forget(place / "run", "u9", config(place, "erase"))
    forget_later(place / "run", "u3")
    assert timeless(forget(place / "run", HER, config(place, "erase"))).rows == undisturbed["erase"].rows
    assert len(due.read_due(place / "run")) == 2
    assert forget(place / "run", "u9", config(place, "erase")).complete


def test_a_user_of_the_data_whom_the_run_left_out(begin):
    """Rows that trained nothing go too, and the run is trained anew: whether that is done cannot be told by her id."""
    place, _ = begin
    (place / "people" / "users.csv").open("a").write("late-comer,20,Rome,\n")
    told = []
    for at in (None, "compared"):
        with pytest.MonkeyPatch.context() as patch:
            if at is not None:
                restore(place)
                (place / "people" / "users.csv").open("a").write("late-comer,20,Rome,\n")
                stop_at(patch, module, at)
                with pytest.raises(KeyboardInterrupt):
                    forget(place / "run", "late-comer", config(place, "data"))
        told.append(timeless(forget(place / "run", "late-comer", config(place, "data"))))
    assert told[0] == told[1] and told[0].retrained and told[0].rows["users"] == 1


@pytest.mark.usefixtures("encryption_key")
def test_what_is_pending_is_sealed_where_the_run_is(people, tmp_path):
    train(Dataset.load(people), tmp_path / "run", load_recipe(None, SETTINGS), encrypt=True)
    for name in ("exchange", "compared"):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, module, name)
            with pytest.raises(KeyboardInterrupt):
                forget(tmp_path / "run", HER, ForgetConfig(erase=True))
        assert (tmp_path / "run" / "due.json").read_bytes().startswith(b"gnnrec\0")
    pending = json.loads(vault.read_text(tmp_path / "run" / "due.json"))["due"][0]["begun"]
    assert pending["rows"] == {"log": 9, "users": 1, "friends": 2} and HER not in str(pending)
    told = forget(tmp_path / "run", HER, ForgetConfig(erase=True))
    assert told.complete and told.rows == pending["rows"] and told.retrained
