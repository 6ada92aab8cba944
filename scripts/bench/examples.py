"""The worked examples on the data that they are written for; their main figures.

    python scripts/bench/examples.py [NAME …]

Each script runs as a process of its own, with one thread, in a folder that is removed afterwards. `seconds`, CPU time,
and `peak_mb` are those of the whole script; its service, a process of its own, is in the first.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from rows import SHARED, row, save

EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = {"ecommerce": "beauty", "social": "hackernews", "education": "courses"}
METRICS = ("recall@10", "ndcg@10")


def cpu_seconds() -> float:
    """Of all finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(name: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        before = cpu_seconds()
        subprocess.run(
            [sys.executable, "-W", "ignore", str(EXAMPLES / f"{name}.py"), str(SHARED / DATA[name])],
            check=True,
            cwd=place,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        seconds = cpu_seconds() - before
        (found,) = Path(place).glob(f"runs/{name}-*/examples.json")
        kept = json.loads(found.read_text(encoding="utf-8"))
    peak = round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    rows = [
        row(
            f"{name}, {what}",
            model,
            [0],
            [{key: one["metrics"][key] for key in METRICS} | {"coverage@10": one["beyond"]["coverage@10"]}],
            seconds,
            interval=one["confidence"]["ndcg@10"],
            users=one["users"],
            candidates=one["candidates"],
            peak_mb=peak,
        )
        for what, evaluations in kept.items()
        for model, one in evaluations.items()
    ]
    save("examples", rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "names", nargs="*", default=list(DATA), metavar="NAME", help=f"of {', '.join(DATA)}; default: all"
    )
    for name in parser.parse_args().names:
        run(name)


if __name__ == "__main__":
    main()
