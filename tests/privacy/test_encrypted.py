"""Forgetting, feedback and policy of a run that is encrypted: nothing of it becomes plain."""

import pytest
from crowd import HER, SETTINGS, holding

from gnnrec import vault
from gnnrec.datasets import Dataset, open_feedback, read_events
from gnnrec.finetuning import train
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.serve.feedback import FeedbackLog

pytestmark = pytest.mark.usefixtures("encryption_key")


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run.feedback.jsonl"
    vault.encrypt_file(path)
    return path


def event(user, timestamp=2_000_000):
    return {"user": user, "item": "i1", "timestamp": timestamp}


def written(log, *events):
    feedback = FeedbackLog(log)
    for one in events:
        feedback.append([one])
        feedback.remember([one])
    return feedback


def test_an_encrypted_run_forgets_and_stays_encrypted(people, never, tmp_path, log, one_document):
    written(log, event(HER), event("u7"), event("somebody-new")).close()
    train(Dataset.load(people, open_feedback(log)), tmp_path / "run", load_recipe(overrides=SETTINGS), encrypt=True)
    assert one_document("export", tmp_path / "run", "--to", tmp_path / "out", "--encrypt")["written"]
    certificate = forget(tmp_path / "run", HER, ForgetConfig(erase=True, also=(tmp_path / "out",)))
    assert certificate.complete and certificate.feedback_events == 1 and certificate.found == []
    assert HER not in Run.load(tmp_path / "run").user_ids and "u7" in Run.load(tmp_path / "run").user_ids
    assert [one["user"] for one in read_events(log)] == ["u7", "somebody-new"]
    for folder in (tmp_path / "run", tmp_path / "out"):
        assert vault.is_encrypted(folder)
        assert all(
            path.read_bytes().startswith(b"gnnrec\0") for path in folder.iterdir() if path.name != "data-keys.json"
        )
    assert holding(HER, people, tmp_path / "run", tmp_path / "out", log) == []
    assert holding("somebody-new", tmp_path / "run", tmp_path / "out", log) == []  # nor anybody else's


def test_the_search_looks_into_what_is_encrypted(people, tmp_path, log, run_command):
    """Her events stay in another encrypted log that is only searched: the command says so and fails."""
    other = tmp_path / "kept" / "log.jsonl"
    other.parent.mkdir()
    vault.encrypt_file(other)
    written(other, event(HER)).close()
    train(Dataset.load(people), tmp_path / "run", load_recipe(overrides=SETTINGS), encrypt=True)
    status, _, said = run_command("forget", tmp_path / "run", "--user", HER, "--erase", "--also", other.parent)
    assert status == 2 and "log.jsonl" in said


def test_old_events_leave_an_encrypted_log_that_is_open(log):
    feedback = written(log, event("somebody-old", 10), event("u7", 30), event("somebody-older", 5))
    assert feedback.forget_before(20) == 2 and feedback.num_events == 1
    feedback.append([event("new", 40)])
    feedback.close()
    assert [one["user"] for one in read_events(log)] == ["u7", "new"]
    assert b"somebody" not in log.read_bytes() and log.stat().st_mode & 0o777 == 0o600


def test_a_policy_says_that_files_are_encrypted(people, tmp_path, one_document):
    train(Dataset.load(people), tmp_path / "run", load_recipe(overrides=SETTINGS), encrypt=True)
    one_document("policy", tmp_path / "run", "--out", tmp_path / "out")
    assert "are encrypted" in (tmp_path / "out" / "policy.en.md").read_text()
