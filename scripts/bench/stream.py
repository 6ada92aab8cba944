"""A large log from files to exported embeddings by the command line: peak memory and CPU seconds, stage by stage.

    python scripts/bench/stream.py --scale 0.1 [--checkout FOLDER --variant before] [--keep FOLDER]

Made first (huge.py): Parquet files of a power-law log with times and of its items, 384 float16 numbers an item in an
.npy file; the last two rows of 10,000 users are validation and test. Then `gnnrec train` on sampled pieces, `evaluate`
and `export` run as they are typed, each in a process of its own whose memory is looked at every 20 ms: RssAnon, which
has to be there, apart from RssFile, pages of mapped files, which the kernel may drop. Stages of a training are told by
its functions. --scale 1: 5 million users, 1 million items, 200 million interactions. Where a command fails, what it
measured before the stage that it failed in is kept, and this ends with an error. --checkout: another checkout of
gnnrec, to be measured in the same way.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from huge import INTERACTIONS, ITEMS, USERS, power_law_blocks, write_features
from numpy.typing import NDArray
from rows import row, save

ROOT = Path(__file__).parents[2]
SETTINGS = [
    *("train.sampling=neighbours", "train.fanout=5", "train.epochs=1", "train.batch_size=65536"),
    *("train.max_steps=1000000", "train.shared_negatives=512", "model.layers=1", "model.dim=64", "graph.neighbors=0"),
    *("model.recent=0", "model.factors=false", "model.spectrum=false", "model.paths=false", "model.placement=false"),
]
START, MEASURED_USERS = 1_500_000_000, 10_000
TOLD = """
name = "stream"
[interactions]
path = "interactions.parquet"
timestamp = "timestamp"
split = "split"
[items]
path = "items.parquet"
id = "item"
[features.text]
path = "text.npy"
"""
# What the functions of a training are, from outside: the same in every checkout.
MARKED = """
import sys
from gnnrec import pipeline
from gnnrec.cli import main
from gnnrec.datasets import Dataset

def marked(name, function):
    def call(*arguments, **more):
        print("stage", name, file=sys.stderr, flush=True)
        return function(*arguments, **more)
    return call

load = Dataset.load.__func__
Dataset.load = classmethod(marked("load", load))
for name, stage in {"split": "split", "encode_dataset": "features", "training_graph": "graph", "fit_model": "train",
                    "evaluate_model": "evaluate", "save_run": "save"}.items():
    setattr(pipeline, name, marked(stage, getattr(pipeline, name)))
sys.exit(main(sys.argv[1:]))
"""


def write_data(folder: Path, num_users: int, num_items: int, num_edges: int) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    blocks = power_law_blocks(num_users, num_items, num_edges, seed=0)
    parts = last_rows(np.concatenate([user for user, _, _ in blocks()]), num_users)
    writer, first = None, 0
    for user, item, _ in blocks():
        rows = np.arange(first, first := first + len(user), dtype=np.int64)
        table = pa.table({"user": user, "item": item, "timestamp": START + rows // 4, "split": parts[rows]})
        writer = writer or pq.ParquetWriter(folder / "interactions.parquet", table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    pl.DataFrame({"item": np.arange(num_items)}).write_parquet(folder / "items.parquet")
    write_features(folder / "text.npy", num_items)
    (folder / "dataset.toml").write_text(TOLD)
    return folder


def last_rows(user: NDArray[np.int32], num_users: int) -> NDArray[np.int8]:
    """0, but 2 for the last row of MEASURED_USERS users and 1 for the one before. [E]"""
    parts = np.zeros(len(user), np.int8)
    active = np.flatnonzero(np.bincount(user, minlength=num_users) >= 3)
    chosen = np.zeros(num_users, bool)
    chosen[np.random.default_rng(1).permutation(active)[:MEASURED_USERS]] = True
    rows = np.flatnonzero(chosen[user])
    rows = rows[np.argsort(user[rows], kind="stable")]
    last = np.append(np.flatnonzero(np.diff(user[rows])), len(rows) - 1)
    parts[rows[last]], parts[rows[last - 1]] = 2, 1
    return parts


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: int) -> tuple[float, float]:
    """GB: own, of mapped files."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(found.get("RssAnon", 0)) / 2**20, int(found.get("RssFile", 0)) / 2**20


def measured(checkout: Path, name: str, typed: list[str], until: str | None) -> tuple[dict[str, Any], int]:
    """Of each finished stage of a command: seconds of CPU, and the most GB at any time in it; and the exit status, 0
    where it was stopped at `until`."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        [sys.executable, "-c", MARKED, *typed], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
    )
    stages: dict[str, dict[str, float]] = {}
    now = [name]

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            text = line.decode().rstrip()
            if text.startswith("stage "):
                print(f"  {now[0]}: {stages.get(now[0])}", flush=True)
                now[0] = f"{name}: {text.removeprefix('stage ')}"
                if now[0] == until:
                    process.terminate()
            print(f"  {time.strftime('%T')} {text[:300]}", flush=True)

    listener = threading.Thread(target=listen)
    listener.start()
    last = 0.0
    while process.poll() is None:
        time.sleep(0.02)
        found = stages.setdefault(now[0], {"seconds": 0.0, "own_gb": 0.0, "mapped_gb": 0.0})
        try:
            (own, mapped), cpu = memory(process.pid), cpu_seconds(process.pid)
        except OSError:  # it has ended
            continue
        found["seconds"], last = found["seconds"] + cpu - last, cpu
        found["own_gb"], found["mapped_gb"] = max(found["own_gb"], own), max(found["mapped_gb"], mapped)
    listener.join()
    status = 0 if now[0] == until else process.returncode
    if status or now[0] == until:
        stages.pop(now[0], None)
    return stages, status


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1, help="share of users, items and interactions")
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--variant", default="after")
    parser.add_argument("--keep", type=Path, help="where the data is made, and left for the next call")
    parser.add_argument("--set", nargs="*", default=[], help="more settings of the training")
    parser.add_argument("--formats", default="parquet,npy,safetensors")
    parser.add_argument("--until", help="stage at whose beginning to stop, such as 'train: train'")
    options = parser.parse_args()
    sizes = tuple(round(size * options.scale) for size in (USERS, ITEMS, INTERACTIONS))
    folder = Path(tempfile.mkdtemp(prefix="stream-", dir="/var/tmp"))
    try:
        data = options.keep or folder / "data"
        if not data.exists():
            write_data(data, *sizes)
        run = folder / "run"
        began = time.perf_counter()
        commands: dict[str, list[str]] = {
            "train": ["train", str(data), "--out", str(run), "--set", *SETTINGS, *options.set],
            "evaluate": ["evaluate", str(run)],
            "export": ["export", str(run), "--to", str(folder / "out"), "--format", options.formats],
        }
        stages: dict[str, Any] = {}
        for name, typed in commands.items():
            found, status = measured(options.checkout.resolve(), name, typed, options.until)
            stages |= found
            for stage, spent in found.items():
                print(stage, {key: round(value, 2) for key, value in spent.items()}, flush=True)
            if status or options.until:
                break
    finally:
        shutil.rmtree(folder)
    if not stages:
        raise SystemExit(f"{name}: ended with {status} before its first stage did")
    values = {f"{stage} {key}": value for stage, found in stages.items() for key, value in found.items()} | {
        "own_gb": max(found["own_gb"] for found in stages.values())
    }
    variant = f"{sizes[0]:,} users, {sizes[1]:,} items, {sizes[2]:,} interactions; {options.variant}"
    typed = ["python", "scripts/bench/stream.py", "--scale", f"{options.scale:g}", "--variant", options.variant]
    command = shlex.join([*typed, *(("--set", *options.set) if options.set else ())])
    seconds = time.perf_counter() - began
    save("stream", [row("synthetic power law", variant, [0], [values], seconds, stages=stages, command=command)])
    if status:
        raise SystemExit(f"{name}: ended with {status}")


if __name__ == "__main__":
    main()
