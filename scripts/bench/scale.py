"""What training costs as the log grows: seconds of an epoch and peak memory of the process, each size in its own.

    python scripts/bench/scale.py --sizes 1e5 1e6 1e7 4.2e7 --threads 2 [--steps 40]

Power-law logs: 1,000,000 users and 300,000 items at 42 million interactions, both in proportion below. LightGCN, d 64,
3 layers, softmax, the default rules for batches and negatives. "graph" is building it (with its operators), "epoch" the
training of one, "evaluate" ranking everything for 10,000 users. With --steps only so many steps are run, and the epoch
is their median times the steps of an epoch: the row says so (measured_steps). Memory is the operating system's figure
for the whole process, the making of the log included. The slope is that of a straight line through
log(interactions), log(epoch seconds).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch
from goals import slope
from rows import row, save

from gnnrec.datasets import powerlaw
from gnnrec.graph import GraphConfig, build_graph
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.training import TrainConfig, Trainer
from gnnrec.validation import validation_metric

USERS, ITEMS, INTERACTIONS = 1_000_000, 300_000, 42_000_000  # the largest; others in proportion
EVALUATED = 10_000


def measure(size: int, steps: int | None, settings: TrainConfig) -> dict[str, Any]:
    num_users, num_items = (max(round(size * count / INTERACTIONS), 100) for count in (USERS, ITEMS))
    log = powerlaw(num_users, num_items, size, seed=0).interactions
    last = np.zeros(num_users, dtype=np.int64)
    last[log.user] = np.arange(len(log))  # of each user her last row
    held = np.zeros(len(log), dtype=bool)
    held[last[np.bincount(log.user, minlength=num_users) > 1][:EVALUATED]] = True
    train, val = log.rows(~held).unordered(), log.rows(held).unordered()
    began = time.perf_counter()
    graph = build_graph(train, {}, config=GraphConfig(together=0))
    model = LightGCN(LightGCNConfig(), graph, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model(graph)
    built = time.perf_counter() - began
    trainer = Trainer(model, graph, val.rows(slice(0, 0)), settings)  # type: ignore[arg-type]
    batches = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).split(trainer.batch_size)
    spent = []
    for batch in batches[:steps]:
        began = time.perf_counter()
        trainer.step(batch)
        spent.append(time.perf_counter() - began)
    whole = len(spent) == len(batches)
    epoch = sum(spent) if whole else statistics.median(spent[1:]) * len(batches)
    began = time.perf_counter()
    validation_metric(model, graph, train, val, "ndcg@20")
    values = {
        "interactions": len(train),
        "epoch_seconds": epoch,
        "graph_seconds": built,
        "evaluate_seconds": time.perf_counter() - began,
        "steps": len(batches),
        "measured_steps": len(spent),
        "batch": trainer.batch_size,
    }
    return row("synthetic power law", f"{size:,} interactions", [0], [values], epoch, users=num_users, items=num_items)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e5, 1e6, 1e7, 4.2e7])
    parser.add_argument("--steps", type=int, help="steps to run instead of a whole epoch")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-steps", type=int, default=TrainConfig().max_steps, help="train.max_steps")
    parser.add_argument("--inside", action="store_true", help="measure in this process and print the row")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.inside:
        settings = TrainConfig(max_steps=options.max_steps)
        print(json.dumps(measure(int(options.sizes[0]), options.steps, settings)))
        return
    rows = []
    more = ["--steps", str(options.steps)] if options.steps else []
    for size in options.sizes:
        command = [sys.executable, "-W", "ignore", __file__, "--inside", "--sizes", str(size), *more]
        command += ["--threads", str(options.threads), "--max-steps", str(options.max_steps)]
        finished = subprocess.run(command, capture_output=True, text=True)
        if finished.returncode:
            sys.exit(f"{size:.0f} interactions: {finished.stderr[-500:] or finished.returncode}")
        rows.append(json.loads(finished.stdout))
        print(rows[-1]["variant"], rows[-1]["metrics"], f"{rows[-1]['peak_mb']} MB", flush=True)
        save("scale", rows)
    if len(rows) > 1:
        print(f"log-log slope of the epoch's seconds: {slope(rows):.3f}")


if __name__ == "__main__":
    main()
