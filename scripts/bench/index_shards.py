"""Memory of a FAISS index in files of equal size as the items grow, beside one file of all: built, then searched.

    python scripts/bench/index_shards.py [--items 1e5 4e5 1.6e6] [--whole 4e5]

Unit rows of 64 random numbers in an .npy file, which is mapped; 100,000 rows a shard, each exact; --whole: also one
file of so many, an inverted file. Each is built by what `gnnrec export --shards` calls and searched for 1,000 queries
by what `gnnrec search` calls, each in a process of its own, one thread. Own memory (RssAnon) is looked at every 20 ms,
less what the process had with the libraries and, where it builds, the ids; pages of mapped files are apart.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from id_tables import Memory
from rows import row, save

DIM, QUERIES, K, SHARD, BLOCK = 64, 1_000, 10, 100_000, 65_536


def write_rows(path: Path, num_rows: int) -> None:
    random = np.random.default_rng(0)
    made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(num_rows, DIM))
    for first in range(0, num_rows, BLOCK):
        block = random.normal(size=(min(BLOCK, num_rows - first), DIM)).astype(np.float32)
        made[first : first + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    made.flush()


def work(what: str, folder: Path, num_shards: int) -> dict[str, float]:
    """In a process of its own."""
    from gnnrec.export_index import faiss_library
    from gnnrec.sharded_index import nearest_rows, write_shards

    faiss_library().omp_set_num_threads(1)
    item = np.load(folder / "item.npy", mmap_mode="r", allow_pickle=False)
    index = folder / "index"
    ids = [str(number) for number in range(len(item))] if what == "build" else []
    queries = np.array(item[:: len(item) // QUERIES][:QUERIES])
    memory = Memory()
    before, began = memory.now()[0], time.process_time()
    if what == "build":
        write_shards(item, ids, index, num_shards)
        found = {}
    else:
        rows = nearest_rows(index, queries, K)[1].rows
        nearest = np.arange(len(item))[:: len(item) // QUERIES][:QUERIES]  # each query is a row
        found = {"found": float(np.mean(rows[:, 0] == nearest))}
    seconds = time.process_time() - began
    memory.stop()
    return {"before_mb": before, "own_mb": max(memory.most, before) - before, "cpu_seconds": seconds} | found


def measured(num_rows: int, num_shards: int) -> dict[str, float]:
    found = dict[str, float]()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        write_rows(Path(folder) / "item.npy", num_rows)
        for what in ("build", "search"):
            typed = [sys.executable, "-W", "ignore", __file__, "--work", what, folder, str(num_shards)]
            told = json.loads(subprocess.run(typed, check=True, capture_output=True, text=True).stdout)
            found |= {f"{what} {name}": value for name, value in told.items()}
        files = list((Path(folder) / "index").glob("*.faiss"))
        found["file_mb"] = max(path.stat().st_size for path in files) / 2**20
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=float, nargs="+", default=[1e5, 4e5, 1.6e6])
    parser.add_argument("--whole", type=float, nargs="*", default=[4e5])
    parser.add_argument("--work", nargs=3, help="build or search, folder, number of shards: in a process of its own")
    options = parser.parse_args()
    if options.work:
        what, folder, number = options.work
        print(json.dumps(work(what, Path(folder), int(number))))
        return
    cases = [(int(size), -(-int(size) // SHARD)) for size in options.items]
    for size, shards in cases + [(int(size), 1) for size in options.whole]:
        values = measured(size, shards)
        variant = f"{size:,} items, {shards} file{'s' * (shards > 1)}"
        print(variant, {name: round(value, 2) for name, value in values.items()}, flush=True)
        more: dict[str, Any] = {"items": size, "shards": shards}
        seconds = values["build cpu_seconds"] + values["search cpu_seconds"]
        save("index_shards", [row("random unit rows", variant, [0], [values], seconds, **more)])


if __name__ == "__main__":
    main()
