"""The command with two processes: stopped by Ctrl-C, gone on with by one."""

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
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.parallel.settings import ParallelConfig
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe

SETTINGS = ["model.name=lightgcn", "model.dim=8", "train.batch_size=64", "train.epochs=100", "train.patience=100"]
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


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [row["epoch"] for row in found] == [row["epoch"] for row in expected]
    assert [row["loss"] for row in found] == pytest.approx([row["loss"] for row in expected], rel=1e-5)
    assert found[-1]["ndcg@20"] == pytest.approx(expected[-1]["ndcg@20"], abs=0.002)


@pytest.mark.slow
def test_ctrl_c_stops_both_and_one_process_goes_on(planted_folder: Path, tmp_path: Path) -> None:
    process = command(planted_folder, tmp_path / "run", "--nproc", "2")
    wait_for(process, lambda: len(rows(tmp_path / "run")) >= 5)
    started = workers(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "gnnrec: stopped; the state is saved and the same command goes on" in err
    assert len(started) == 2 and not psutil.wait_procs(started, timeout=5)[1]
    known = rows(tmp_path / "run")
    with safe_open(tmp_path / "run" / "checkpoint.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["state"])["epoch"] == len(known) < 100
    dataset, recipe = Dataset.load(planted_folder), load_recipe(overrides=SETTINGS)
    for name in ("run", "alone"):
        train(dataset, tmp_path / name, recipe)
    assert rows(tmp_path / "run")[: len(known)] == known
    same(rows(tmp_path / "run"), rows(tmp_path / "alone"))


def test_a_model_that_is_computed_at_once_needs_no_workers(planted_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--nproc: found 2; allowed: 1, since ease is computed at once"):
        train(Dataset.load(planted_folder), tmp_path / "run", load_recipe("ease"), parallel=ParallelConfig(nproc=2))
