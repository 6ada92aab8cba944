"""What encryption at rest costs: one run plain and encrypted, loaded and asked; and the cipher by itself.

    python scripts/bench/encrypt.py runs/movies

An encrypted copy is made in a temporary folder. "load": everything a run holds (ids, graph, weights, embeddings), in
this process, plain and encrypted in turns; "recommend": a process of its own, as in cold_start.py. Medians of wall
clock and of CPU time: on a machine with other work only the latter says something. The cipher: SIZE bytes in memory, by
gnnrec in chunks of 1 MiB and by `cryptography` in one piece, which is the floor.
"""

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cold_start import measure
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rows import row, save

from gnnrec import vault
from gnnrec.cipher import FILE_VARIABLE, Key, new_key_file, seal, unseal
from gnnrec.run_folder import Run

SIZE = 256 << 20


def encrypted_copy(run: Path, to: Path) -> None:
    vault.encrypt_folder(to)
    for path in run.iterdir():
        if path.is_file():
            vault.write_bytes(to / path.name, path.read_bytes())


def load_all(folder: Path) -> None:
    run = Run.load(folder)
    for value in (run.known, run.graph, run.model, run.metrics, run.recipe, run.user_vectors, run.item_vectors):
        assert value is not None


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def medians(times: list[tuple[float, ...]], *names: str) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in zip(names, zip(*times))}


def folders(plain: Path, encrypted: Path, rounds: int) -> list[dict[str, Any]]:
    run, both = Run.load(plain), {"plain": plain, "encrypted": encrypted}
    size = sum(path.stat().st_size for path in plain.iterdir() if path.is_file()) / 1e6
    command = [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", "recommend"]
    loads: dict[str, list[tuple[float, ...]]] = {name: [] for name in both}
    asks: dict[str, list[tuple[float, ...]]] = {name: [] for name in both}
    for number in range(rounds + 1):  # the first round fills the page cache and imports what is imported late
        for name, folder in both.items():
            load = timed(partial(load_all, folder))
            ask = measure([*command, str(folder), "--user", run.user_ids[0]])
            if number:
                loads[name].append(load)
                asks[name].append(ask)
    rows = []
    for name in both:
        found = medians(loads[name], "load_s", "load_cpu_s") | medians(asks[name], "ask_s", "ask_cpu_s", "ask_mb")
        seconds = sum(wall for wall, *_ in loads[name] + asks[name])
        made = row(run.provenance["dataset"]["name"], name, [0], [found | {"mb": size}], seconds, rounds=rounds)
        rows.append(made)
    return rows


def cipher(rounds: int) -> list[dict[str, Any]]:
    key, data, nonce = Key.new(), os.urandom(SIZE), secrets.token_bytes(12)
    sealed, floor = bytes(seal(data, key, "a")), AESGCM(key.secret)
    whole = floor.encrypt(nonce, data, None)
    works: dict[str, Callable[[], Any]] = {
        "gnnrec, encrypt": lambda: seal(data, key, "a"),
        "gnnrec, decrypt": lambda: unseal(sealed, {key.id: key}, "a"),
        "cryptography, encrypt": lambda: floor.encrypt(nonce, data, None),
        "cryptography, decrypt": lambda: floor.decrypt(nonce, whole, None),
    }
    times: dict[str, list[tuple[float, ...]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(timed(work))
    rows = []
    for name, taken in times.items():
        found = medians(taken, "s", "cpu_s")
        speeds = {"mb_per_s": SIZE / 1e6 / found["s"], "mb_per_cpu_s": SIZE / 1e6 / found["cpu_s"]}
        rows.append(row(f"{SIZE >> 20} MiB", name, [0], [speeds], sum(wall for wall, _ in taken), rounds=rounds))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key, copy = Path(folder) / "key", Path(folder) / "run"
        new_key_file(key)
        os.environ[FILE_VARIABLE] = str(key)
        encrypted_copy(options.run, copy)
        rows = folders(options.run, copy, options.rounds) + cipher(options.rounds)
    save("encrypt", rows)
    for entry in rows:
        print(entry["dataset"], entry["variant"], {name: round(value, 3) for name, value in entry["metrics"].items()})


if __name__ == "__main__":
    main()
