"""A run that has forgotten somebody is the run that never saw her, and she is in no file."""

import json

import polars as pl
import pytest
from crowd import HER, holding, write_people

from gnnrec.due import read_due
from gnnrec.encoders.cache import FeatureCache
from gnnrec.encoders.encode import content_hash
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file
from gnnrec.language.answers import AnswerCache
from gnnrec.pipeline import evaluate
from gnnrec.privacy.forget import ForgetConfig, forget, forget_later
from gnnrec.run_folder import Run
from gnnrec.serve.feedback import FeedbackLog

TENSORS = ("weights", "embeddings", "graph")


def hashes(run):
    return [sha256_of_file(run.folder / f"{name}.safetensors") for name in TENSORS]


def test_the_run_is_that_of_data_that_never_had_her(run, never, people, tmp_path, one_document):
    before = hashes(run)
    told = one_document("forget", run.folder, "--user", HER, "--data", tmp_path / "copy")
    assert hashes(Run.load(run.folder)) == hashes(never) != before
    assert [(one["before"], one["after"]) for one in told["files"] if one["name"] == "weights.safetensors"] == [
        (before[0], hashes(never)[0])
    ]
    assert told["rows"] == {"log": 9, "users": 1, "friends": 2} and told["found"] == []
    assert told["original"] == str(people) and not told["complete"]  # a copy leaves the original alone
    assert holding(HER, run.folder, tmp_path / "copy", run.folder.with_name("run.forgotten")) == []
    assert len(holding(HER, people)) == 3
    assert "only-hers" not in Run.load(run.folder).item_ids
    assert len(list((tmp_path / "copy" / "pics").iterdir())) == 39


def test_erasing_changes_her_rows_in_place_and_nothing_else(run, never, people, tmp_path):
    certificate = forget(run.folder, HER, ForgetConfig(erase=True))
    assert hashes(Run.load(run.folder)) == hashes(never) and certificate.complete
    clean = write_people(tmp_path / "clean", without=HER)
    for name in ("users.csv", "friends.tsv", "dataset.toml"):
        assert (people / name).read_bytes() == (clean / name).read_bytes()
    assert {path.name for path in (people / "pics").iterdir()} == {path.name for path in (clean / "pics").iterdir()}
    assert holding(HER, tmp_path / "people", run.folder, tmp_path / "run.forgotten") == []
    assert "log 9" in next((tmp_path / "run.forgotten").glob("*.txt")).read_text()


def test_while_a_service_has_the_feedback_nothing_begins(run, tmp_path):
    log = FeedbackLog(tmp_path / "run.feedback.jsonl")
    before = hashes(run)
    with pytest.raises(UserError, match="a service has it open; stop it first, or --later marks the user at once"):
        forget(run.folder, HER, ForgetConfig(erase=True))
    assert not read_due(run.folder) and hashes(run) == before and len(holding(HER, tmp_path / "people")) == 3
    log.close()
    assert forget(run.folder, HER, ForgetConfig(erase=True)).complete


def test_feedback_caches_and_exports_lose_her(people, tmp_path, own_cache, run_command):
    log = tmp_path / "run.feedback.jsonl"
    event = '{"user": "%s", "item": "i1", "timestamp": 2000000}\n'
    log.write_text(event % HER + event % "u7" + event % HER + event % "somebody-new")
    status, _, _ = run_command(
        *("train", people, "--out", tmp_path / "run", "--with-feedback", log, "--set", "train.epochs=1", "model.dim=8"),
        *("encoders.image=none", "encoders.text=none"),
    )
    assert status == 0 and run_command("export", tmp_path / "run", "--to", tmp_path / "out")[0] == 0
    assert len(holding(HER, tmp_path / "out")) >= 3  # Parquet has it packed
    for encoder in ("one", "two"):
        with FeatureCache(own_cache / "features", encoder, 2) as cache:
            cache.store({content_hash(text): pl.Series([1.0, 2.0]).to_numpy() for text in ("Rome", "Oslo")})
    with AnswerCache(own_cache / "llm" / "answers.sqlite") as answers:
        answers.put("key", f"what {HER} likes")
    certificate = forget(tmp_path / "run", HER, ForgetConfig(erase=True, also=(tmp_path / "out",)), lambda line: None)
    assert (certificate.feedback_events, certificate.cached_features, certificate.complete) == (2, 2, True)
    assert log.read_text() == event % "u7" + event % "somebody-new" and log.stat().st_mode & 0o777 == 0o600
    places = [path for path in tmp_path.iterdir() if path.name != "clean"]
    assert holding(HER, *places) == []
    exported = pl.read_parquet(tmp_path / "out" / "users.parquet")["id"].to_list()
    assert HER not in exported and "somebody-new" in exported
    assert json.loads((tmp_path / "out" / "users.ids.json").read_text()) == exported
    assert Run.load(tmp_path / "run").dataset().feedback.num_events == 2
    with FeatureCache(own_cache / "features", "one", 2) as cache:
        assert [found for found, _ in cache.fetch([content_hash("Rome"), content_hash("Oslo")])] == [
            content_hash("Oslo")
        ]


def test_later_refuses_her_at_once_and_nobody_else(run, run_command, one_document):
    assert one_document("forget", run.folder, "--user", HER, "--later")["due"]
    for verb in (("recommend",), ("explain", "--item", "i1")):
        status, _, err = run_command(verb[0], run.folder, "--user", HER, *verb[1:])
        assert status == 2 and "due to be forgotten" in err
    assert one_document("recommend", run.folder, "--user", "u1")
    assert one_document("inspect", run.folder)["run"]["users_due_to_be_forgotten"] == 1
    assert holding(HER, run.folder / "due.json") == []
    assert run_command("export", run.folder, "--to", run.folder.with_name("out"), "--format", "npy")[0] == 0
    assert holding(HER, run.folder.with_name("out")) == []
    forget_later(run.folder, "u1")
    forget(run.folder, HER, ForgetConfig(erase=True))
    left = Run.load(run.folder).refused
    assert "u1" in left and HER not in left and len(left) == 1


def test_what_is_measured_and_shown_leaves_out_who_is_due(run, tmp_path, run_command, one_document):
    whole, her = evaluate(run), run.user_index(HER)
    assert her in whole.users and one_document("evaluate", run.folder)["users_due_to_be_forgotten"] == 0
    forget_later(run.folder, HER)
    left, others = evaluate(Run.load(run.folder)), whole.users != her
    assert left.users.tolist() == whole.users[others].tolist()
    assert left.per_user["ndcg@10"].tolist() == whole.per_user["ndcg@10"][others].tolist()
    assert one_document("evaluate", run.folder)["users_due_to_be_forgotten"] == 1
    assert "left out: 1 user due to be forgotten" in run_command("evaluate", run.folder)[1]
    run_command("report", run.folder, "--out", tmp_path / "out" / "report.html")
    assert holding(HER, tmp_path / "out") == []


def test_data_that_was_cleared_already_needs_no_word(run, never, people):
    clean = write_people(people.parent / "clean", without=HER)
    for name in ("log.csv.gz", "users.csv", "friends.tsv"):
        (people / name).write_bytes((clean / name).read_bytes())
    assert forget(run.folder, HER).complete
    assert hashes(Run.load(run.folder)) == hashes(never)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", HER], "holds 12 rows of this user; allowed: --data NEW"),
        (["--user", "nobody"], "no user with the id 'nobody'"),
        (["--user", HER, "--erase", "--data", "x"], "found --data and --erase"),
        (["--user", HER, "--later", "--erase"], "--later: goes with --user alone"),
    ],
)
def test_what_is_typed_wrongly_changes_nothing(run, people, run_command, options, message):
    before = hashes(run), (people / "log.csv.gz").read_bytes()
    status, _, err = run_command("forget", run.folder, *options)
    assert status == 2 and message in err and err.count("\n") == 1
    assert (hashes(run), (people / "log.csv.gz").read_bytes()) == before and not (run.folder / "due.json").exists()


def test_an_encoder_that_has_learnt_from_her_is_refused(run, people, tmp_path):
    from gnnrec.pipeline import learnt_from
    from gnnrec.recipe import load_recipe

    learnt = {"kind": "lsa", "modality": "text", "learnt_from": learnt_from(run.dataset(), load_recipe())}
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "encoder.json").write_text(json.dumps(learnt))
    with pytest.raises(UserError, match="has learnt from this user"):
        forget(run.folder, HER, ForgetConfig(erase=True, settings=(f"encoders.text={tmp_path / 'encoder'}",)))


def test_a_file_that_still_names_her_is_told_and_fails(run, tmp_path, run_command):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "report.html").write_text(f"<b>{HER}</b>")
    status, out, err = run_command("forget", run.folder, "--user", HER, "--erase", "--also", tmp_path / "notes")
    assert status == 2 and "still in" in err and "report.html" in out


@pytest.mark.parametrize("where", ["run/notes.txt", "run.feedback.jsonl", "copy/notes.txt", "cache/features/notes.txt"])
def test_her_id_is_looked_for_in_run_feedback_data_and_caches(run, people, tmp_path, where):
    """As the item of somebody else's event, and in a file of nobody's: what no step before the search takes away."""
    path = tmp_path / where
    if where.startswith("copy"):
        write_people(tmp_path / "copy", without=HER)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"user": "somebody", "item": HER, "timestamp": 1}) + "\n")
    certificate = forget(run.folder, HER, ForgetConfig(data=tmp_path / "copy"))
    kept = [] if where.startswith("run/") else [str(path)]  # the old run goes as a whole
    assert certificate.found == kept


def test_features_of_profiles_go_with_their_encoder(run, own_cache):
    told = json.loads((run.folder / "run.json").read_text())
    told["encoders"]["users"]["profile"] = "use"
    (run.folder / "run.json").write_text(json.dumps(told))
    for encoder in ("use", "minilm"):
        with FeatureCache(own_cache / "features", encoder, 1) as cache:
            cache.store({"of a profile": pl.Series([1.0]).to_numpy()})
    forget(run.folder, HER, ForgetConfig(erase=True))
    assert [path.name.partition("-")[0] for path in (own_cache / "features").glob("*.sqlite")] == ["minilm"]
