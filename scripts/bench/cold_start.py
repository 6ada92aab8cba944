"""Cold start: how long `gnnrec recommend` takes from the shell to the list, as a process of its own each time.

    python scripts/bench/cold_start.py runs/movies

Wall clock, CPU time and peak memory of the whole process as the operating system counts them, the files in the page
cache. Medians, and the interquartile range of the wall clock. It is also counted how many users' lists are those of the
graph and the model, built anew.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from rows import row, save

from gnnrec.models import model_scorer
from gnnrec.ranking import top_k
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run

# A small process starts the one that is measured: the peak of a child is never below that of its parent at the start.
WATCH = """if True:
    import os, subprocess, sys, time
    began = time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    print(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
    sys.exit(status != 0)
"""
QUERIES = ("user", "item", "text")


def measure(command: list[str]) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak megabytes of one process."""
    found = subprocess.run([sys.executable, "-c", WATCH, *command], capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{' '.join(command)}: {found.stderr}")
    seconds, cpu, kilobytes = map(float, found.stdout.split())
    return seconds, cpu, kilobytes / 1024


def same_lists(run: Run) -> float:
    """Share of users whose served list of ten is that of the graph and the model, built anew."""
    expected = top_k(model_scorer(run.model, run.known_graph), np.arange(len(run.user_ids)), 10, run.known.matrix())
    recommender = Recommender.load(run.folder)
    found = [[run.item_index(place.id) for place in recommender.recommend(user)] for user in run.user_ids]
    return statistics.fmean(own == items.tolist() for own, items in zip(found, expected.items))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--queries", nargs="+", choices=QUERIES, default=["user"])
    options = parser.parse_args()
    rows = []
    for folder in options.run:
        run = Run.load(folder)
        asked = {"user": run.user_ids[0], "item": run.item_ids[0], "text": "a heist in space"}
        for query in options.queries:
            command = [
                str(Path(sys.executable).parent / "gnnrec"),
                "recommend",
                str(folder),
                f"--{query}",
                asked[query],
            ]
            measure(command)  # the first one fills the page cache
            seconds, cpu, megabytes = zip(*(measure(command) for _ in range(options.runs)))
            low, _, high = statistics.quantiles(seconds, n=4)
            metrics = {"seconds": statistics.median(seconds), "slowest": max(seconds), "cpu": statistics.median(cpu)}
            if query == "user":
                metrics["same_lists"] = same_lists(run)
            variant = f"{run.recipe.model_name}, --{query}"
            made = row(run.provenance["dataset"]["name"], variant, [0], [metrics], sum(seconds))
            rows.append(
                made | {"spread": {"seconds": high - low}, "peak_mb": round(max(megabytes)), "runs": options.runs}
            )
            print(variant, metrics, f"IQR {high - low:.3f} s, {max(megabytes):.0f} MB", flush=True)
    save("cold_start", rows)


if __name__ == "__main__":
    main()
