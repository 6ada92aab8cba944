"""Tables of ids whole, in blocks over two processes, and in mapped files: memory, seconds, checkpoints, lists.

    python scripts/bench/id_tables.py memory [--rows 4000000] [--steps 30]
    python scripts/bench/id_tables.py accuracy data/movies

memory: LightGCN with two hops of 5 neighbours and 64 dimensions on a power-law log, three quarters of the rows users,
one interaction a row; steps of 2,048 interactions against 4,096 items, the average on. Memory is what a process has of
its own, less what it had before there was a model (the graph): the most while it trains, and the most while the
average becomes the best weights and the checkpoint is written; pages of mapped files apart, which the system may drop.
One thread a process.
accuracy: `gnnrec train` from the shell to the run folder, on pieces; NDCG@20 on test.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from rows import row, save

from gnnrec.datasets import powerlaw
from gnnrec.graph import GraphConfig, build_graph
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.parallel.settings import ParallelConfig
from gnnrec.parallel.torchrun import run_function
from gnnrec.training import TrainConfig, Trainer
from gnnrec.weights.choose import draw_for
from gnnrec.workers import world

VARIANTS = {
    "whole, one process": ("whole", 1),
    "whole, two processes": ("whole", 2),
    "sharded, two processes": ("sharded", 2),
    "mapped, one process": ("mapped", 1),
}
DIM, FANOUT, BATCH, WARM = 64, 5, 2048, 3
LIGHTGCN = ["model.name=lightgcn", "model.layers=2", "train.sampling=neighbours", "train.fanout=5", "train.epochs=6"]


class Memory:
    """Of this process: what is its own and what is mapped, in MB, and the most of its own while it is watched."""

    def __init__(self) -> None:
        self.most, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> tuple[float, float]:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
        return found["RssAnon"], found["RssFile"] + found["RssShmem"]

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self.now()[0])


def bytes_in(folder: Path) -> float:
    """On the disk, in MB."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 2**20


def work(folder: str, tables: str, num_rows: int, steps: int) -> None:
    """One process; leaves what it found in the folder."""
    torch.set_num_threads(1)
    out, workers = Path(folder) / "run", world()
    log = powerlaw(num_rows * 3 // 4, num_rows // 4, num_rows).interactions.unordered()
    graph = build_graph(log, {}, config=GraphConfig(together=0))
    config = TrainConfig(sampling="neighbours", fanout=FANOUT, tables=tables, batch_size=BATCH, max_steps=10**9)
    memory = Memory()
    before = memory.now()[0]
    draw = draw_for(tables, LightGCN, out)
    model = LightGCN(LightGCNConfig(dim=DIM, layers=2), graph, torch.Generator().manual_seed(0), *draw)
    trainer = Trainer(model, graph, log.rows(slice(0, 0)), config, out / "checkpoint.safetensors")  # type: ignore[arg-type]
    made, seconds, losses = memory.most, [], []
    trainer.save()  # from here on an undo log is kept
    memory.most = 0.0
    batches = torch.randperm(len(log), generator=torch.Generator().manual_seed(1)).split(BATCH)
    for batch in batches[:steps]:
        began = time.perf_counter()
        losses.append(trainer.step(batch))
        seconds.append(time.perf_counter() - began)
    training, (_, mapped) = memory.most, memory.now()
    began = time.perf_counter()
    with trainer.weights.averaged(trainer.state.updates):
        trainer.weights.keep(0)
    keeping, again = time.perf_counter() - began, time.perf_counter()
    trainer.save()
    saving = time.perf_counter() - again
    workers.wait()  # old files are gone
    memory.stop()
    found = {
        "graph_mb": before,
        "starting_mb": made - before,
        "training_mb": training - before,
        "saving_mb": memory.most - before,
        "mapped_mb": mapped,
        "step_seconds": statistics.median(seconds[WARM:]),
        "keep_seconds": keeping,
        "save_seconds": saving,
        "disk_mb": bytes_in(out),
        "last_loss": statistics.fmean(losses[-5:]),
    }
    (Path(folder) / f"found-{workers.rank}.json").write_text(json.dumps(found))


def memory_of(variant: str, num_rows: int, steps: int, place: Path | None) -> dict[str, Any]:
    tables, size = VARIANTS[variant]
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder, began = Path(name), time.monotonic()
        (folder / "run").mkdir()
        run_function(work, (name, tables, num_rows, steps), folder, ParallelConfig(nproc=size, restarts=0))
        found = [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(size)]
        values = {key: max(one[key] for one in found) for key in found[0]}
        return row(
            f"{num_rows:,} rows of {DIM}", variant, [0], [values], time.monotonic() - began, steps=steps, rows=num_rows
        )


def accuracy_of(data: Path, variant: str) -> dict[str, Any]:
    from gnnrec.pipeline import evaluate
    from gnnrec.run_folder import Run

    tables, size = VARIANTS[variant]
    with tempfile.TemporaryDirectory() as folder:
        out, began = Path(folder) / "run", time.monotonic()
        command = [sys.executable, "-m", "gnnrec.cli", "train", str(data), "--out", str(out), "--nproc", str(size)]
        command += ["--set", *LIGHTGCN, f"train.tables={tables}", "train.precision=float32"]
        subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, check=True)
        seconds, run = time.monotonic() - began, Run.load(out)
        log = [json.loads(line) for line in (out / "log.jsonl").read_text(encoding="utf-8").splitlines()]
        values = {
            "ndcg@20": evaluate(run).metrics["ndcg@20"],
            "val ndcg@20": run.metrics["metrics"]["ndcg@20"],
            "last_loss": log[-1]["loss"],
            "epochs": len(log),
            "training_seconds": log[-1]["seconds"],
        }
        return row(data.name, variant, [0], [values], seconds)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("memory", "accuracy"))
    parser.add_argument("data", type=Path, nargs="?", default=Path("data/movies"))
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    options = parser.parse_args()
    for variant in options.variants:
        if options.what == "memory":
            made = memory_of(variant, options.rows, options.steps, options.folder)
        else:
            made = accuracy_of(options.data, variant)
        print(variant, {name: round(value, 4) for name, value in made["metrics"].items()}, flush=True)
        save("tables", [made])


if __name__ == "__main__":
    main()
