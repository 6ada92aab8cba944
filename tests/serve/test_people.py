"""Who is to be forgotten is refused by a service that runs; old feedback goes; no log names anybody."""

import json
import shutil
import signal
import subprocess
import sys
import time
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from gnnrec.datasets import read_events
from gnnrec.datasets.pseudonyms import KEY, Pseudonyms
from gnnrec.due import FILE, mark_due
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


def test_the_limit_of_the_data_is_that_of_its_service(serve, own_run, tmp_path):
    told = json.loads((own_run / "run.json").read_text())
    told["dataset"]["retention_days"] = 7
    (own_run / "run.json").write_text(json.dumps(told))
    path = tmp_path / "feedback.jsonl"
    path.write_text(json.dumps({"user": "old", "item": "i1", "timestamp": 5}) + "\n")
    serve(own_run, retention_days=0.0)
    assert len(read_events(path)) == 1
    serve(own_run)  # while the other one has the log, nothing goes
    assert len(read_events(path)) == 1


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
        url = process.stdout.readline().split()[3].rstrip(";")
        for path in ("/recommend?user=anna-9x", "/explain?user=anna-9x&item=i1", "/recommend?user=u1&k=anna-9x"):
            with pytest.raises(HTTPError):
                urlopen(url + path, timeout=30)
        process.send_signal(signal.SIGTERM)
        rest = process.communicate(timeout=30)[0]
    assert "anna-9x" not in rest + (tmp_path / "log").read_text()
