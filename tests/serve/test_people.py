"""Who is to be forgotten is refused by a service that runs; old feedback goes; no log names anybody."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gnnrec.datasets import read_events
from gnnrec.datasets.pseudonyms import KEY, Pseudonyms
from gnnrec.due import FILE, mark_due
from gnnrec.serve.feedback import FeedbackLog
from gnnrec.serve.served import Served

HOW_OLD = 86_400


@pytest.fixture
def own_run(tiny_runs, tmp_path):
    """One that a test may change."""
    return shutil.copytree(tiny_runs["default"], tmp_path / "own")


def test_a_running_service_refuses_at_once_and_goes_on_refusing(serve, own_run, tmp_path):
    client = serve(own_run)
    told = {"user": "u1", "item": "i3"}
    ask = [("/recommend", {}), ("/history", {}), ("/candidates", {}), ("/explain", {"item": "i1"})]
    assert [client.get(path, params={"user": "u1"} | more).status_code for path, more in ask] == [200] * 4
    assert client.post("/feedback", json=told).status_code == 201
    mark_due(own_run, "u1")
    for _ in range(2):
        assert [client.get(path, params={"user": "u1"} | more).status_code for path, more in ask] == [404] * 4
        assert client.post("/feedback", json=told).status_code == 422
        found = {one["id"] for one in client.get("/users", params={"search": "u1", "k": 50}).json()["users"]}
        assert "u10" in found and "u1" not in found
        assert client.get("/recommend", params={"user": "u2"}).status_code == 200
        (own_run / FILE).unlink(missing_ok=True)  # as a run that was trained anew has none
    assert len(read_events(tmp_path / "feedback.jsonl")) == 1


def test_old_feedback_is_gone_when_the_service_starts(serve, tiny_runs, tmp_path):
    path, now = tmp_path / "feedback.jsonl", int(time.time())
    events = [
        {"user": "old", "item": "i1", "timestamp": now - 8 * HOW_OLD},
        {"user": "new", "item": "i1", "timestamp": now},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    client = serve(tiny_runs["default"], retention_days=7.0)
    assert [event["user"] for event in read_events(path)] == ["new"]
    assert client.get("/recommend", params={"user": "old"}).status_code == 404
    assert client.get("/recommend", params={"user": "new"}).status_code == 200


@pytest.fixture
def limited(own_run):
    """A run whose data may keep rows for a week."""
    told = json.loads((own_run / "run.json").read_text())
    told["dataset"]["retention_days"] = 7
    (own_run / "run.json").write_text(json.dumps(told))
    return own_run


def write_events(path, *ages):
    """One event of each age in days, by a user who is named after it."""
    events = [{"user": f"aged{age}", "item": "i1", "timestamp": int(time.time() - age * HOW_OLD)} for age in ages]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def users_of(path):
    return [event["user"] for event in read_events(path)]


def until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ["aged6", "aged0"]),
        ({"retention_days": 3.0}, ["aged0"]),
        ({"retention_days": 0.0}, ["aged8", "aged6", "aged0"]),
    ],
)
def test_the_limit_of_the_data_is_that_of_its_service_unless_it_has_its_own(serve, limited, tmp_path, settings, kept):
    path = tmp_path / "feedback.jsonl"
    write_events(path, 8, 6, 0)
    client = serve(limited, **settings)
    assert users_of(path) == kept
    for user in ("aged8", "aged6", "aged0"):
        assert client.get("/recommend", params={"user": user}).status_code == (200 if user in kept else 404)


def test_while_another_service_has_the_log_nothing_goes(serve, limited, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnrec.serve.service.PAUSE", 0.02)
    path = tmp_path / "feedback.jsonl"
    write_events(path, 8)
    other = FeedbackLog(path)
    serve(limited)
    time.sleep(0.2)
    assert users_of(path) == ["aged8"]
    other.close()
    until(lambda: users_of(path) == [])


def test_what_grows_old_while_the_service_runs_leaves_the_file_and_the_lists(serve, limited, tmp_path, monkeypatch):
    monkeypatch.setattr("gnnrec.serve.service.PAUSE", 0.02)
    client, path, now = serve(limited), tmp_path / "feedback.jsonl", time.time()

    def tell(user, item, age):
        told = {"user": user, "item": item, "timestamp": int(now - age * HOW_OLD)}
        assert client.post("/feedback", json=told).status_code == 201

    def listed(user):
        answer = client.get("/recommend", params={"user": user, "k": 30})
        return [place["id"] for place in answer.json()["items"]] if answer.status_code == 200 else answer.status_code

    before = listed("u1")
    first, second = before[:2]
    tell("u1", first, 6)
    tell("newcomer", "i3", 6)
    tell("later", "i3", 1)
    grown, of_newcomer = listed("u1"), listed("newcomer")
    assert first not in grown and of_newcomer == listed("later")
    monkeypatch.setattr(time, "time", lambda: now + 2 * HOW_OLD)
    until(lambda: users_of(path) == ["later"] and listed("newcomer") == 404)
    monkeypatch.undo()
    assert listed("u1") == before and listed("later") == of_newcomer
    tell("u1", second, 0)  # she has told one thing again, as when the list was made that is kept no more
    assert first in listed("u1") and second not in listed("u1")
    assert users_of(path) == ["later", "u1"]


def test_feedback_of_a_run_under_pseudonyms_holds_no_id(serve, own_run, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "correct horse battery staple")
    told = json.loads((own_run / "run.json").read_text())
    told["dataset"]["pseudonyms"] = Pseudonyms.required().check
    (own_run / "run.json").write_text(json.dumps(told))
    client = serve(own_run)
    assert client.post("/feedback", json={"user": "somebody-new", "item": "i1"}).status_code == 201
    assert client.get("/recommend", params={"user": "somebody-new"}).status_code == 200
    assert "somebody" not in (tmp_path / "feedback.jsonl").read_text()


def test_what_goes_wrong_is_logged_without_whom_it_was_about(serve, tiny_runs, monkeypatch, capfd):
    def fail(*_):
        raise KeyError(f"u-secret-{1}")

    monkeypatch.setattr(Served, "known", fail)
    client = serve(tiny_runs["default"])
    answer = client.get("/recommend", params={"user": "u3"})
    assert answer.status_code == 500 and "u3" not in answer.text
    out, err = capfd.readouterr()
    assert "KeyError" in err and "test_people.py" in err
    assert "u-secret-1" not in out + err and "u3" not in out + err


def test_a_service_writes_no_id_of_who_asks(tiny_runs, tmp_path):
    command = ["serve", str(tiny_runs["default"]), "--port", "0", "--feedback", str(tmp_path / "told.jsonl")]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", *command],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert process.stdout is not None
        begun = process.stdout.readline()
        url = begun.split()[3].rstrip(";")

        def answered(path, **told):
            body = json.dumps(told).encode() if told else None
            with urlopen(Request(url + path, body, {"content-type": "application/json"}), timeout=60) as answer:
                return json.load(answer)

        best = answered("/recommend?user=u7&k=5")["items"][0]["id"]
        assert answered(f"/explain?user=u7&item={best}")["evidence"]
        assert answered("/feedback", user="u7", item=best)["user"] == "u7"
        assert answered("/feedback", user="anna-9x", item=best)["item"] == best
        assert answered("/recommend", user="anna-9x")["items"] and answered("/history?user=anna-9x")["items"]
        for path in ("/recommend?user=bert-9x", "/explain?user=bert-9x&item=i1", "/recommend?user=u1&k=bert-9x"):
            with pytest.raises(HTTPError):
                urlopen(url + path, timeout=30)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
    log_of_it = (tmp_path / "log").read_text()
    printed = "\n".join((begun.partition(" on http")[0], rest, log_of_it))  # the path of the feedback may hold anything
    assert not re.search(r"-9x|\b[ui]\d+\b", printed), printed
