"""Own memory of a training on sampled pieces, an interaction: with all of the log in memory, and with scratch files.

    python scripts/bench/long_log.py [--interactions 2e6 6e6] [--users 20000] [--logs "scratch files"]

lightgcn, one dimension and one hop, few users and items, so that what grows is the log: `gnnrec train` on made logs of
two sizes (stream.py), each in memory and with scratch.LARGE_LOG of 1. By stage the most own memory (RssAnon) of the one
size less that of the other, over the difference in interactions: bytes an interaction.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import stream
from rows import row, save

USERS = 20_000
SETTINGS = [
    *("model.name=lightgcn", "model.dim=1", "model.layers=1", "graph.neighbors=0", "graph.together=0"),
    *("train.sampling=neighbours", "train.fanout=3", "train.epochs=1", "train.shared_negatives=64"),
    *("train.whole_catalogue=0", "train.batch_size=65536", "train.max_steps=1000000", "encoders.text=none"),
]
LARGE = {"in memory": 10**12, "scratch files": 1}
TOLD = "from gnnrec import scratch\nscratch.LARGE_LOG = {}\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--interactions", type=float, nargs=2, default=[2e6, 6e6])
    parser.add_argument("--users", type=int, default=USERS, help="of both logs; items are a tenth of them")
    parser.add_argument("--logs", nargs="+", choices=LARGE, default=list(LARGE))
    options = parser.parse_args()
    sizes = [int(size) for size in options.interactions]
    folder, marked = Path(tempfile.mkdtemp(prefix="long-", dir="/var/tmp")), stream.MARKED
    stages: dict[str, list[dict[str, dict[str, float]]]] = {name: [] for name in options.logs}
    try:
        for size in sizes:
            data = stream.write_data(folder / str(size), options.users, options.users // 10, size)
            for name in options.logs:
                stream.MARKED = TOLD.format(LARGE[name]) + marked
                out = folder / f"{size} {name}"
                typed = ["train", str(data), "--out", str(out), "--set", *SETTINGS]
                by_stage, status = stream.measured(stream.ROOT, "train", typed, None)
                if status:
                    raise SystemExit(f"{size} {name}: ended with {status}")
                stages[name].append(by_stage)
                shutil.rmtree(out)
            shutil.rmtree(data)
    finally:
        shutil.rmtree(folder)
    made = []
    for name, (small, large_one) in stages.items():
        values = {
            f"{stage.removeprefix('train: ')} bytes": (large_one[stage]["own_gb"] - small[stage]["own_gb"])
            * 2**30
            / (sizes[1] - sizes[0])
            for stage in large_one
            if stage in small
        }
        print(name, {key: round(value, 1) for key, value in values.items()}, flush=True)
        seconds = sum(stage["seconds"] for stage in large_one.values())
        variant = f"{name}, {sizes[0]:,} to {sizes[1]:,} interactions"
        made.append(row("synthetic power law", variant, [0], [values], seconds, stages=[small, large_one], sizes=sizes))
    save("long_log", made)


if __name__ == "__main__":
    main()
