"""What happens to a training in two processes when one of them is killed, and when it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors import safe_open

import gnnrec

SETTINGS = ["model.name=lightgcn", "model.dim=8", "train.batch_size=64", "train.epochs=150", "train.patience=150"]
SETTINGS += ["train.precision=float32", "train.validate_every=5"]


def command(data: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    typed = [sys.executable, "-m", "gnnrec.cli", "train", str(data), "--out", str(out), *more, "--set", *SETTINGS]
    where = {"PYTHONPATH": str(Path(gnnrec.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(typed, env=os.environ | where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(out: Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(process: subprocess.Popen[str], found: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while not (value := found()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def alone(planted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The log of the same training in one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert command(planted_folder, out).wait() == 0
    return rows(out)


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    assert found[-1]["ndcg@20"] == pytest.approx(expected[-1]["ndcg@20"], abs=0.002)


def test_a_killed_worker_costs_no_finished_epoch(planted_folder: Path, tmp_path: Path, alone: Any) -> None:
    process = command(planted_folder, tmp_path / "run", "--nproc", "2", "--json")
    wait_for(process, lambda: len(rows(tmp_path / "run")) >= 5)
    lost = workers(process)
    known = rows(tmp_path / "run")
    assert len(lost) == 2
    os.kill(lost[1].pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and json.loads(out)["run"] == str(tmp_path / "run")
    found = rows(tmp_path / "run")
    assert found[: len(known) - 1] == known[:-1]  # the times too: they were not made again
    same(found, alone)
    assert {path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")} == set()


def test_ctrl_c_stops_all_and_one_process_goes_on(planted_folder: Path, tmp_path: Path, alone: Any) -> None:
    process = command(planted_folder, tmp_path / "run", "--nproc", "2")
    wait_for(process, lambda: len(rows(tmp_path / "run")) >= 5)
    started = workers(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.splitlines()[-1].endswith("the state is saved and the same command goes on")
    assert not psutil.wait_procs(started, timeout=5)[1]
    known = rows(tmp_path / "run")
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["state"])["epoch"] == len(known) < 150
    process = command(planted_folder, tmp_path / "run")
    assert process.wait(timeout=120) == 0
    assert rows(tmp_path / "run")[: len(known)] == known
    same(rows(tmp_path / "run"), alone)
