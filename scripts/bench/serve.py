"""`gnnrec serve` under wrk: requests a second, times, faults, memory, and the time from the start to the first answer.

python scripts/bench/serve.py RUN [--seconds 60]               a run that is there: as it is; with no list kept, so that
                                                               each is computed; and with a change of the run in the
                                                               middle and 1 % of malformed requests
python scripts/bench/serve.py --items 20000 [--seconds 60]     a made catalogue of so many items, by embeddings
python scripts/bench/serve.py RUN --rerank [--seconds 60]      lists reordered by the language model, one asked after
                                                               the other: of users new to it, of the same ones again;
                                                               and lists without it under wrk in the meantime
Needs wrk. Server and wrk share the machine.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import numpy as np
from rows import row, save

from gnnrec.datasets import powerlaw
from gnnrec.files import write_json
from gnnrec.llm.rerank import NO_WEIGHT, weight_file
from gnnrec.llm.settings import LLMConfig, kept_for, open_scorer
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.serve.security import add_key

CONNECTIONS = 16
WEIGHT = 0.1  # of the language model, for `--rerank`
USERS, ROWS = 20_000, 50  # of a made log: users, and rows of each
TICKS = os.sysconf("SC_CLK_TCK")
# How what serve.lua asks wrongly is refused: no form, no such thing, not what is allowed. A 401 would say that it was
# turned away at the door, and that nothing was tried.
REFUSALS = {"400", "404", "422"}
NONE_KEPT = ("--cached-lists", "0")


class Server:
    """The command as a process, from its start."""

    def __init__(self, run: Path, work: Path, more: Sequence[str]) -> None:
        self.key = add_key(work / "keys.json", "bench", "admin")
        options = ["--port", "0", "--keys", str(work / "keys.json"), "--feedback", str(work / "told.jsonl"), *more]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", "serve", str(run), *options],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait(self, user: str) -> None:
        """Until it answers, and then until it has loaded all."""
        assert self.process.stdout is not None
        found = re.search(r"http://\S+?:\d+", self.process.stdout.readline())
        assert found is not None, "the server did not start"
        self.url = found.group()
        assert self.ask(f"/recommend?user={quote(user)}")["items"]
        self.first_answer = time.perf_counter() - self.began
        while not self.ask("/ready")["warm"]:
            time.sleep(0.05)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(self.url + path, data, headers), timeout=60) as answer:
            return json.load(answer)

    def memory(self, kind: str = "VmRSS") -> float:
        """MB now, or at most so far (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{kind}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def served(run: Path, user: str, more: Sequence[str] = ()) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as work:
        server = Server(run, Path(work), more)
        try:
            server.wait(user)
            yield server
        finally:
            server.process.terminate()
            server.process.wait()


def wrk(server: Server, users: Path, seconds: int, malformed: int = 0) -> dict[str, Any]:
    script = Path(__file__).with_suffix(".lua")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "--timeout", "10", "-s", str(script), server.url]
    environment = os.environ | {"USERS": str(users), "KEY": server.key, "MALFORMED": str(malformed)}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    found: dict[str, Any] = json.loads(printed.rpartition("RESULT ")[2])
    return found


def check_refusals(statuses: Mapping[str, int]) -> None:
    """Whether every malformed request reached what has to refuse it."""
    refused = {status for status in statuses if status.startswith("4")}
    if refused != REFUSALS:
        raise SystemExit(f"serve.py: refused with {dict(statuses)}; expected each of {', '.join(sorted(REFUSALS))}")


def measure(server: Server, users: Path, seconds: int, change_to: str | None = None) -> dict[str, float]:
    """One run of wrk; with `change_to`, the run is changed in the middle and 1 % of the requests are malformed."""
    wrk(server, users, 2)  # caches and allocators have settled
    before, cpu = server.memory(), server.cpu()
    changed: list[str] = []
    if change_to is not None:
        timer = threading.Timer(
            seconds / 2, lambda: changed.append(server.ask("/admin/run", {"run": change_to})["run"])
        )
        timer.start()
    found, refused = wrk(server, users, seconds, malformed=0 if change_to is None else 1), 0
    if change_to is not None:
        timer.join()
        assert changed, "the run was not changed"
        print(f"statuses: {found['statuses']}")
        check_refusals(found["statuses"])
        refused = sum(found["statuses"][status] for status in REFUSALS)
    return {
        "requests_per_second": found["requests"] / found["seconds"],
        **{f"{name}_ms": found[name] for name in ("p50", "p99", "max")},
        "not_answered": found["failed"],
        "faults": found["refused"] - refused,
        "refused": refused,
        "server_cpu_us": (server.cpu() - cpu) / found["requests"] * 1e6,
        "first_answer_s": server.first_answer,
        "mb_before": before,
        "mb_after": server.memory(),
        "load": os.getloadavg()[0],
    }


def reranked(server: Server, users: Sequence[str], seconds: int) -> dict[str, float]:
    """Lists by the language model, each asked for when the one before is there, for so many seconds at most."""
    before, cpu, began, times, unanswered = server.memory(), server.cpu(), time.perf_counter(), [], 0
    for user in users:
        asked = time.perf_counter()
        answer = server.ask(f"/recommend?user={quote(user)}&rerank=true")
        times.append(time.perf_counter() - asked)
        unanswered += not answer["rerank"]["applied"]
        if time.perf_counter() - began > seconds:
            break
    p50, p99 = np.percentile(times, (50, 99)) * 1e3
    return {
        "requests_per_second": len(times) / (time.perf_counter() - began),
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": max(times) * 1e3,
        "not_answered": unanswered,
        "faults": 0,  # urllib raises for any
        "refused": 0,
        "server_cpu_us": (server.cpu() - cpu) / len(times) * 1e6,
        "first_answer_s": server.first_answer,
        "mb_before": before,
        "mb_after": server.memory(),
        "load": os.getloadavg()[0],
        "lists": len(times),
    }


def measure_reranked(
    run: Path, ids: Sequence[str], users: Path, seconds: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Variants and their metrics, of one server whose language model has a weight, be it one that is only for this.

    Where validation would choose 0 the model is not asked, and what it costs could not be seen; it costs the same
    whatever its weight is. The weight is laid where the service keeps those that it has chosen, and taken away again.
    """
    loaded, config = Run.load(run), LLMConfig()
    kept = weight_file(loaded, open_scorer(loaded, config), config, kept_for(loaded) or run)
    if kept.exists():
        raise SystemExit(f"serve.py: {kept} is there; expected none, so that GNNREC_CACHE is a fresh folder")
    write_json(kept, replace(NO_WEIGHT, value=WEIGHT).to_json())
    try:
        yield from _measure_reranked(run, ids, users, seconds)
    finally:
        kept.unlink()


def _measure_reranked(
    run: Path, ids: Sequence[str], users: Path, seconds: int
) -> Iterator[tuple[str, dict[str, float]]]:
    with served(run, ids[0], ("--rerank", *NONE_KEPT)) as server:
        while (state := server.ask("/ready")["rerank"]) == "preparing":
            time.sleep(1)
        if state != "ready":
            raise SystemExit(f"serve.py: the language model of {run} is {state}; expected ready")
        first = reranked(server, ids, seconds)
        yield "reranked, one at a time", first
        yield "reranked, the same users again", reranked(server, ids[: int(first["lists"])], seconds)
        rest = iter(ids[int(first["lists"]) :])  # new to it
        over = threading.Event()

        def go_on_asking() -> None:
            for user in rest:
                if over.is_set():
                    break
                server.ask(f"/recommend?user={quote(user)}&rerank=true")

        asking = threading.Thread(target=go_on_asking)
        asking.start()
        found = measure(server, users, seconds)
        assert asking.is_alive(), "every user was reranked before wrk was through"
        over.set()
        asking.join()
        yield "lists, none kept, while others are reranked", found


def made_run(num_items: int, folder: Path) -> Path:
    """Matrix factorization of a made log, ranked by embeddings; hardly fitted, since only its size matters here."""
    if (folder / f"made-{num_items}" / "run.json").exists():
        return folder / f"made-{num_items}"
    data = powerlaw(USERS, num_items, USERS * ROWS)
    split = ("split.method=global_time", "split.val_share=0.0001", "split.test_share=0.0001")
    recipe = load_recipe("ials", ("model.iterations=1", "model.dim=128", *split))
    return train(data, folder / f"made-{num_items}", recipe).folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--items", type=int)
    parser.add_argument("--rerank", action="store_true", help="with the language model, at a weight of its own")
    parser.add_argument("--work", type=Path, help="folder that made runs are kept in (default: they are not)")
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = options.run or made_run(options.items, options.work or Path(work))
        run, rows = Run.load(folder), []
        users = Path(work) / "users.txt"
        users.write_text("".join(f"{quote(user)}\n" for user in run.user_ids))
        name = run.provenance["dataset"]["name"] if options.run else f"made, {options.items:,} items"
        if options.rerank:
            name += f", {run.recipe.model_name}"
            for variant, metrics in measure_reranked(folder, run.user_ids, users, options.seconds):
                rows.append(row(name, variant, [0], [metrics], options.seconds))
                print(json.dumps(metrics))
            save("serve", rows, each_processor=True)
            return
        for variant, more, change_to in (
            ("lists", (), None),
            ("lists, none kept", NONE_KEPT, None),
            ("lists, run changed, 1 % malformed", (), folder.resolve().name),
        ):
            with served(folder, run.user_ids[0], more) as server:
                metrics = measure(server, users, options.seconds, change_to)
                rows.append(row(name, variant, [0], [metrics], options.seconds, peak_mb=round(server.memory("VmHWM"))))
                print(json.dumps(rows[-1]["metrics"]))
    save("serve", rows, each_processor=True)


if __name__ == "__main__":
    main()
