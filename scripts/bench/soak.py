"""A service for a long time: lists, likeness and feedback without a pause, and every so often a retrained run put in.

python scripts/bench/soak.py [--minutes 45] [--every 60]      writes results/soak.json

The run is retrained `--with-feedback` on what the service was told and swapped in by /admin/run. Memory and open files
of the server are those of /proc, after the first swap (which brings torch along), half-way, and at the end. In the
second half nothing more is told, so that what feedback takes, which is kept, is told apart from what leaks.
"""

import argparse
import http.client
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
from rows import row, save

from gnnrec.datasets import powerlaw

ROOT = Path(__file__).parents[2]
SETTINGS = ("train.epochs=3", "model.dim=16")
ASKING = 2  # threads that ask without a pause


def gnnrec(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", *arguments]


def dataset(folder: Path) -> list[str]:
    """A made log on disk; returns the ids of its users."""
    log = powerlaw(800, 400, 20_000).interactions
    folder.mkdir()
    columns = {"user": [f"u{user}" for user in log.user], "item": [f"i{item}" for item in log.item]}
    pl.DataFrame(columns | {"time": log.timestamp}).write_csv(folder / "log.csv")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "log.csv"\nuser = "user"\nitem = "item"\ntimestamp = "time"\n'
    )
    return sorted(set(columns["user"]))


def train(data: Path, out: Path, feedback: Path | None = None) -> None:
    more = [] if feedback is None else ["--with-feedback", str(feedback)]
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    subprocess.run(
        gnnrec("train", str(data), "--out", str(out), "--json", *more, *sets), check=True, capture_output=True
    )


class Asking:
    """Threads that ask one server; what was not answered as it should be is a fault."""

    def __init__(self, address: str, key: str, users: list[str]) -> None:
        self.address, self.users = address, users
        self.headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self.requests = self.faults = self.told = 0
        self.stopped, self.silent = threading.Event(), threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(ASKING)]

    def _ask(self, number: int) -> None:
        chance, connection = random.Random(number), http.client.HTTPConnection(self.address, timeout=90)
        while not self.stopped.is_set():
            user, item = chance.choice(self.users), f"i{chance.randrange(400)}"
            told = {"user": user, "item": item, "timestamp": int(time.time())}
            what = chance.choices(("list", "like", "tell"), (6, 3, 0 if self.silent.is_set() else 1))[0]
            method, path, body = {
                "list": ("GET", f"/recommend?user={user}&k=10", None),
                "like": ("GET", f"/similar?item={item}&k=10", None),
                "tell": ("POST", "/feedback", told),
            }[what]
            status = self.send(connection, method, path, body)
            self.requests += 1
            self.told += what == "tell" and status == 201
            if status not in (200, 201, 404):
                print(f"fault: {what} was answered {status or 'nothing'}", flush=True)
            self.faults += status not in (200, 201, 404)  # 404: an item that no training row has
        connection.close()

    def send(self, connection: http.client.HTTPConnection, method: str, path: str, body: object) -> int:
        content = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, content, self.headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            return 0


def measured(process: int) -> tuple[float, int]:
    """Resident megabytes and open files."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found.group(1)) / 1024, sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def soak(place: Path, minutes: float, every: float) -> dict[str, float]:
    users = dataset(place / "data")
    train(place / "data", place / "runs" / "0")
    made = subprocess.run(
        gnnrec("key", str(place / "keys.json"), "soak", "--admin"), check=True, capture_output=True, text=True
    )
    options = ["--port", "0", "--keys", str(place / "keys.json"), "--feedback", str(place / "told.jsonl")]
    server = subprocess.Popen(gnnrec("serve", str(place / "runs" / "0"), *options), stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    address = re.search(r"http://(\S+?:\d+)", server.stdout.readline())
    assert address is not None
    asking, swaps, points, told = Asking(address.group(1), made.stdout.strip(), users), 0, [], 0
    try:
        waiting = http.client.HTTPConnection(asking.address, timeout=60)
        while asking.send(waiting, "GET", "/ready", None) != 200:
            time.sleep(0.5)
        waiting.close()
        for thread in asking.threads:
            thread.start()
        end = time.monotonic() + 60 * minutes
        half = end - 30 * minutes
        while time.monotonic() < end:
            began = time.monotonic()
            swaps += 1
            train(place / "data", place / "runs" / str(swaps), place / "told.jsonl")
            admin = http.client.HTTPConnection(address.group(1), timeout=60)
            asking.faults += asking.send(admin, "POST", "/admin/run", {"run": str(swaps)}) != 200
            admin.close()
            points.append(measured(server.pid))
            if began >= half:
                asking.silent.set()
            else:
                told = len(points)  # how many points there were when something was told last
            print(f"{swaps} swaps, {asking.requests:,} requests, {asking.faults} faults, {points[-1]}", flush=True)
            time.sleep(max(0.0, min(every - (time.monotonic() - began), end - time.monotonic())))
    finally:
        asking.stopped.set()
        for thread in asking.threads:
            thread.join()
        last = measured(server.pid)
        server.terminate()
        server.wait()
    kept = len((place / "told.jsonl").read_text().splitlines())
    assert kept == asking.told, f"{asking.told} events were acknowledged, {kept} are in the log"
    megabytes = [point[0] for point in points]
    return {
        "minutes": minutes,
        "requests": asking.requests,
        "faults": asking.faults,
        "told": asking.told,
        "swaps": swaps,
        "mb_first": points[0][0],
        "mb_half": megabytes[told - 1],
        "mb_last": last[0],
        "mb_per_swap": slope(megabytes[:told]),
        "mb_per_swap_silent": slope(megabytes[told:]),
        "files_first": points[0][1],
        "files_last": last[1],
    }


def slope(megabytes: list[float]) -> float:
    return float(np.polyfit(np.arange(len(megabytes)), megabytes, 1)[0]) if len(megabytes) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--every", type=float, default=60, help="seconds between two swaps, at least")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        found = soak(Path(place), options.minutes, options.every)
    save("soak", [row("made data", "service", [0], [found], time.monotonic() - began)])


if __name__ == "__main__":
    main()
