"""A training is told to MLflow and W&B as it was, to nobody else, and none of them can end it."""

import json
import os
import socket
import struct
import time

import pytest
from mlflow.tracking import MlflowClient
from wandb.proto.wandb_internal_pb2 import Record

from gnnrec import finetuning
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.sinks import SINKS, Sinks, follow
from gnnrec.tracking import read_log

RECIPE = load_recipe("lightgcn", ["train.epochs=3", "model.dim=8", "train.batch_size=128", "train.validate_every=1"])


@pytest.fixture
def no_network(monkeypatch):
    """Fails where this process reaches out to another machine."""
    connect = socket.socket.connect

    def checked(self, address):
        local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost")
        assert local, f"reached out to {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", checked)


def records(folder):
    """What an offline run of W&B holds: a head of 7 bytes, then LevelDB's log of whole records (type 1)."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, place, found = path.read_bytes(), 7, []
    assert len(data) < 32768  # one block
    while place + 7 <= len(data):
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        assert kind == 1
        if place + 7 + length > len(data):  # still being written
            break
        found.append(Record.FromString(data[place + 7 : place + 7 + length]))
        place += 7 + length
    return found


def values(items):
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def test_a_training_stands_in_both_as_in_its_own_log(tiny_data, tmp_path, run_command, no_network):
    run, store = tmp_path / "run", tmp_path / "store"
    settings = ("train.epochs=3", "model.dim=8", "train.batch_size=128", "train.validate_every=1")
    given = ("--recipe", "lightgcn", "--set", *settings, "--track", f"mlflow:{store}", "wandb:offline")
    status, _, error = run_command("train", tiny_data, "--out", run, *given)
    assert (status, "not followed" in error) == (0, False)
    log, metrics = read_log(run), Run.load(run).metrics["metrics"]
    client = MlflowClient(tracking_uri=store.as_uri())
    (told,) = client.search_runs([client.get_experiment_by_name("gnnrec").experiment_id])
    assert told.info.status == "FINISHED"
    assert told.data.tags["gnnrec.run"] == str(run)
    assert told.data.params["model.dim"] == "8"
    assert told.data.metrics["validation ndcg at 10"] == metrics["ndcg@10"]
    losses = sorted(client.get_metric_history(told.info.run_id, "loss"), key=lambda metric: metric.step)
    assert [(metric.step, metric.value) for metric in losses] == [(row["epoch"], row["loss"]) for row in log]
    found = records(run)
    for _ in range(50):  # the process that writes them may be a little behind
        if found and found[-1].HasField("exit"):
            break
        time.sleep(0.1)
        found = records(run)
    history = [values(one.history.item) for one in found if one.HasField("history")]
    assert [row["loss"] for row in history] == [row["loss"] for row in log]
    summary = values(item for one in found if one.HasField("summary") for item in one.summary.update)
    assert summary["validation ndcg@10"] == metrics["ndcg@10"]


def test_a_training_that_goes_on_is_one_run_in_mlflow(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    settings, said = {"train": {"seed": 1}}, []
    for first, last in ((1, 2), (3, 4)):
        with follow([f"mlflow:{tmp_path / 'store'}"], tmp_path / "run", settings, said.append) as sinks:
            for epoch in range(first, last + 1):
                sinks.log([{"epoch": epoch, "loss": 1 / epoch}])
            if last == 4:
                sinks.finish({"ndcg@10": 0.5})
        client = MlflowClient(tracking_uri=(tmp_path / "store").as_uri())
        (told,) = client.search_runs([client.get_experiment_by_name("gnnrec").experiment_id])
        assert told.info.status == ("FINISHED" if last == 4 else "KILLED")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert [metric.step for metric in client.get_metric_history(told.info.run_id, "loss")] == [1, 2, 3, 4]
    assert (told.info.status, said) == ("FINISHED", [])


def test_a_sink_that_fails_is_said_once_and_ends_nothing(tiny_data, tmp_path):
    (tmp_path / "store").write_text("a file, where a folder is needed")
    said = []
    run = finetuning.train(
        Dataset.load(tiny_data), tmp_path / "run", RECIPE, track=[f"mlflow:{tmp_path / 'store'}"], say=said.append
    )
    assert len(read_log(run.folder)) == 3
    (line,) = [line for line in said if "--track" in line]
    assert "the training goes on" in line and "\n" not in line


def test_a_sink_that_fails_later_leaves_the_others(tmp_path):
    said, told = [], []

    class Good:
        log = finish = told.append

    class Bad:
        def log(self, row):
            raise ConnectionError("gone\nfor good")

    sinks = Sinks(said.append)
    sinks.open |= {"bad:x": Bad(), "good:x": Good()}
    sinks.log([{"epoch": 1}])
    sinks.log([{"epoch": 1}, {"epoch": 2}])
    sinks.finish({"ndcg@10": 1})
    assert told == [{"epoch": 1}, {"epoch": 2}, {"ndcg@10": 1}]
    assert said == ["--track bad:x: not followed any more, the training goes on: gone"]


@pytest.mark.parametrize("typed", ["mlflow", "mlflow:", "tensorboard:x", ":x"])
def test_what_is_typed_wrongly_is_said_before_anything_is_trained(tiny_data, tmp_path, typed):
    with pytest.raises(UserError, match=r"--track: found .*; allowed: mlflow:WHERE, wandb:WHERE"):
        finetuning.train(Dataset.load(tiny_data), tmp_path / "run", RECIPE, track=[typed])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", SINKS)
def test_a_missing_package_has_its_extra(monkeypatch, tmp_path, kind):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"gnnrec\[{kind}\]"), follow([f"{kind}:x"], tmp_path, {}, print):
        pass
