"""How near gnnrec plan comes: its predictions beside measured trainings, each size in a process of its own.

    python scripts/bench/plan.py --sizes 1e4 1e5 1e6 1e7 [--steps 3] [--longest 300]

Power-law logs as in scale.py, LightGCN, d 64, one thread, CPU seconds, which other processes disturb less than the wall
clock. A row holds seconds of a step, of building the graph, of an epoch and of ranking everything for everybody, where
these are predicted to take no longer than --longest, peak memory of the whole process, what was predicted from one
calibration just before and the ratios predicted / measured. The log is made in a process before, so that its making is
not in the peak. What takes milliseconds is measured in several processes, of which the median counts.
"""

import argparse
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import row, save

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.graph import GraphConfig, build_graph
from gnnrec.models import model_scorer
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.plan import Curve, Rates, Workload, calibrate, memory, plan
from gnnrec.ranking import embedding_scorer, top_k
from gnnrec.training import TrainConfig, Trainer

SMALL, PROCESSES = 200_000, 5  # interactions up to which a size is measured in so many processes
USERS, ITEMS, INTERACTIONS = 1_000_000, 300_000, 42_000_000  # the proportions of scale.py


def make(size: int, path: Path) -> None:
    users, items = (max(round(size * count / INTERACTIONS), 250) for count in (USERS, ITEMS))
    log = powerlaw(users, items, size).interactions
    np.savez(path, user=log.user, item=log.item, sizes=np.array([users, items]))


def trainer_of(log: Interactions) -> Trainer:
    graph = build_graph(log, {}, config=GraphConfig(together=0))
    model = LightGCN(LightGCNConfig(), graph, torch.Generator().manual_seed(0))
    return Trainer(model, graph, log.rows(np.zeros(0, dtype=np.int64)), TrainConfig())


def measure(path: Path, steps: int, parts: list[str]) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        users, items = file["sizes"].tolist()
        log = Interactions(user=file["user"], item=file["item"], num_users=users, num_items=items)
    # What is loaded late.
    trainer_of(powerlaw(50, 50, 500).interactions.unordered()).step(torch.arange(100))
    top_k(embedding_scorer(*torch.zeros(2, 2_100, 8)), torch.arange(2_100), 20)
    began = time.process_time()
    trainer = trainer_of(log)
    batches = torch.randperm(len(log), generator=torch.Generator().manual_seed(0)).split(trainer.batch_size)
    trainer.step(batches[0])  # makes the operators
    graph_seconds = time.process_time() - began
    spent: list[float] = []
    for batch in itertools.cycle(batch for batch in batches if len(batch) == trainer.batch_size):
        if len(spent) >= steps and sum(spent) > 1:  # short steps are noisy
            break
        start = time.process_time()
        trainer.step(batch)
        spent.append(time.process_time() - start)
    found = {"step": min(spent), "graph": graph_seconds - statistics.median(spent), "peak": peak_bytes()}
    if "epoch" in parts:
        began = time.process_time()
        for batch in batches:
            trainer.step(batch)
        found["epoch"] = time.process_time() - began
    if "evaluation" in parts:
        began = time.process_time()
        top_k(model_scorer(trainer.model, trainer.graph), torch.arange(users), 20, log.matrix())
        found["evaluation"] = time.process_time() - began
    return found


def peak_bytes() -> int:
    """Of this process since it began; ru_maxrss would begin with what the parent had."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def workload(path: Path) -> Workload:
    with np.load(path, allow_pickle=False) as file:
        users, items = file["sizes"].tolist()
        return Workload(users=users, items=items, interactions=len(file["user"]))


def run(*arguments: str) -> str:
    finished = subprocess.run([sys.executable, "-W", "ignore", __file__, *arguments], capture_output=True, text=True)
    if finished.returncode:
        sys.exit(finished.stderr[-800:] or str(finished.returncode))
    return finished.stdout


def rates_of(document: dict[str, Any]) -> Rates:
    curves = {}
    for name in ("gather", "dense", "build", "rank"):
        told: dict[str, Any] = document[name]
        curves[name] = Curve(**told | {key: tuple(told[key]) for key in ("sizes", "seconds")})
    return Rates(**document | curves)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e4, 1e5, 1e6, 1e7])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--longest", type=float, default=300, help="seconds of an epoch or ranking that is measured")
    parser.add_argument("--parts", nargs="*", default=[])
    parser.add_argument("--make", type=Path)
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--calibrate", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.make:
        make(int(options.sizes[0]), options.make)
        return
    if options.measure:
        print(json.dumps(measure(options.measure, options.steps, options.parts)))
        return
    if options.calibrate:
        print(json.dumps(asdict(calibrate(64))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            path = Path(folder) / f"{size:.0f}.npz"
            run("--sizes", str(size), "--make", str(path))
            began = time.perf_counter()
            rates = rates_of(json.loads(run("--calibrate")))  # just before each, so that both see the same load
            calibration = time.perf_counter() - began
            work = workload(path)
            told = plan(work, rates, machine_bytes=1e15)["seconds"]
            parts = [name for name in ("epoch", "evaluation") if told[name] <= options.longest]
            measuring = ("--measure", str(path), "--steps", str(options.steps), "--parts", *parts)
            calls = [json.loads(run(*measuring)) for _ in range(PROCESSES if size <= SMALL else 1)]
            found = {name: statistics.median(call[name] for call in calls) for name in calls[0]}
            predicted = {name: told[name] for name in ("step", "graph", *parts)}
            predicted["peak"] = sum(memory(work, rates).values())
            metrics = {f"{name}_measured": found[name] for name in predicted}
            metrics |= {f"{name}_predicted": value for name, value in predicted.items()}
            metrics |= {f"{name}_ratio": value / found[name] for name, value in predicted.items()}
            metrics |= {"calibration_seconds": calibration}
            more = {"rates": asdict(rates), "users": work.users, "items": work.items}
            rows.append(row("synthetic power law", f"{size:,.0f} interactions", [0], [metrics], found["step"], **more))
            print(rows[-1]["variant"], {name: round(value, 4) for name, value in metrics.items()}, flush=True)
            save("plan", rows)


if __name__ == "__main__":
    main()
