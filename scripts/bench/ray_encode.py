"""Encoding by Ray while workers are killed with -9: nothing finished is done again, and the features are the same.

    python scripts/bench/ray_encode.py data/movies [--kills 2] [--rows 3000]

The loop encodes the texts first, into a cache of its own. Then Ray's actors do it in another one, and a process that
looks for them sends SIGKILL to one as soon as each third of the shards is there. Counted are the contents that workers
say they encoded, those that had to be encoded twice (a part that was in hand when its worker died is begun again and
counts as none: it never was finished), and the largest difference to the loop's features.
"""

import argparse
import os
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rows import row, save

from gnnrec.datasets import Catalog, Dataset
from gnnrec.encoders import EncodersConfig, encode_catalog, ray_engine
from gnnrec.encoders.ray_engine import Actors, fill_cache

ACTOR = b"ray::Map"  # of Ray's own process names


def actors() -> list[int]:
    """Actors of this process's own Ray: their parents' parent is this process."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if ACTOR in (entry / "cmdline").read_bytes() and os.getpid() in _ancestors(int(entry.name)):
                found.append(int(entry.name))
        except OSError:
            continue  # gone meanwhile
    return found


def _ancestors(process: int) -> set[int]:
    seen: set[int] = set()
    while process > 1:
        text = Path(f"/proc/{process}/stat").read_text()
        process = int(text.rpartition(")")[2].split()[1])
        seen.add(process)
    return seen


def kill_now_and_then(folder: Path, parts: int, kills: int, killed: list[int]) -> None:
    for number in range(1, kills + 1):
        while len(list(folder.rglob("[0-9a-f]*.parquet"))) < number * parts // (kills + 1):
            time.sleep(0.05)
        victims = actors()
        if victims:
            os.kill(victims[0], signal.SIGKILL)
            killed.append(victims[0])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--part", type=int, default=64, help="contents of a shard")
    options = parser.parse_args()
    ray_engine.PART = options.part
    dataset, config = Dataset.load(options.data), EncodersConfig(image="none", audio="none")
    catalog = dataset.items
    assert isinstance(catalog, Catalog)
    unique = len({text for text in catalog.text() if text is not None})
    with tempfile.TemporaryDirectory() as place:
        folder, killed = Path(place), list[int]()
        plain = encode_catalog(catalog, config, cache_dir=folder / "loop")["text"]
        watcher = threading.Thread(
            target=kill_now_and_then,
            args=(folder / "shards", unique // options.part, options.kills, killed),
            daemon=True,
        )
        watcher.start()
        began = time.perf_counter()
        counts = fill_cache(catalog, config, Actors(number=2, shards=folder / "shards"), cache_dir=folder / "ray")
        seconds = time.perf_counter() - began
        again = fill_cache(catalog, config, Actors(number=2, shards=folder / "shards"), cache_dir=folder / "ray")
        from_cache = encode_catalog(catalog, config, cache_dir=folder / "ray")["text"]
    values = {
        "contents": float(unique),
        "killed": float(len(killed)),
        "encoded": float(counts["text"]),
        "encoded_again": float(again["text"]),
        "largest_difference": float(np.abs(plain.values - from_cache.values).max()),
        "same_rows": float((plain.mask == from_cache.mask).all()),
    }
    print(values, f"{seconds:.0f} s")
    save("ray_encode", [row(options.data.name, f"{options.kills} workers killed", [0], [values], seconds)])


if __name__ == "__main__":
    main()
