"""One training by one process, by two, and by two of which one is killed by SIGKILL in the middle.

    python scripts/bench/distributed.py data/movies ../shared/data/lfm2k --set model.name=lightgcn model.dim=32 \
        encoders.text=none encoders.image=none train.epochs=30 train.patience=30

Each is `gnnrec train` from the shell to the run folder, with one thread a process; NDCG@20 on test and validation are
those of the finished runs. Of a killed one it is also counted how many finished epochs had to be made again.
tests/parallel/test_engines.py holds movies to the same; lfm2k is not shipped and is measured here alone.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from rows import row, save

from gnnrec.pipeline import evaluate
from gnnrec.run_folder import Run

VARIANTS = {
    "one process": [],
    "torchrun, 2": ["--nproc", "2"],
    "ray, 2": ["--nproc", "2", "--engine", "ray"],
    "torchrun, 2, one killed": ["--nproc", "2"],
    "ray, 2, one killed": ["--nproc", "2", "--engine", "ray"],
}
EPOCHS_BEFORE = 6  # the kill


def log_of(out: Path) -> list[dict[str, float]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def is_worker(process: psutil.Process) -> bool:
    told = " ".join(process.cmdline())
    return "spawn_main" in told or "RayTrainWorker" in told


def kill_one(process: subprocess.Popen[bytes], out: Path) -> list[dict[str, float]]:
    """Returns the log as it was then."""
    while len(log_of(out)) < EPOCHS_BEFORE:
        if process.poll() is not None:
            sys.exit(f"{out}: ended before it could be killed")
        time.sleep(0.02)
    known = log_of(out)
    [*_, last] = [child for child in psutil.Process(process.pid).children(recursive=True) if is_worker(child)]
    last.kill()
    return known


def measure(data: Path, out: Path, variant: str, settings: list[str]) -> tuple[dict[str, float], float]:
    began, known = time.monotonic(), list[dict[str, float]]()
    command = [sys.executable, "-m", "gnnrec.cli", "train", str(data), "--out", str(out), *VARIANTS[variant]]
    if settings:
        command += ["--set", *settings]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    if variant.endswith("killed"):
        known = kill_one(process, out)
    if process.wait():
        sys.exit(f"{data}, {variant}: exit status {process.returncode}")
    seconds, run, log = time.monotonic() - began, Run.load(out), log_of(out)
    return {
        "ndcg@20": evaluate(run).metrics["ndcg@20"],
        "val ndcg@20": run.metrics["metrics"]["ndcg@20"],
        "epochs": len(log),
        "last_loss": log[-1]["loss"],
        "training_seconds": log[-1]["seconds"],
        "epochs_made_again": sum(old not in log for old in known),
    }, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--set", nargs="+", default=[])
    options = parser.parse_args()
    for data in options.data:
        for variant in options.variants:
            with tempfile.TemporaryDirectory() as folder:
                found, seconds = measure(data, Path(folder) / "run", variant, options.set)
            print(data.name, variant, found, round(seconds, 1), flush=True)
            save("distributed", [row(data.name, variant, [0], [found], seconds)])


if __name__ == "__main__":
    main()
