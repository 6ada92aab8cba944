"""Fuzz the readers of the product by atheris (the extra `fuzz`), and count what was executed.

python scripts/fuzz/fuzz.py [TARGET …] [--seconds 60]      all targets, one after the other; counts: results/fuzz.json
python scripts/fuzz/fuzz.py [TARGET …] --blind             by damage at random, without atheris: many times as quick,
                                                           and as good where a library decides, which is not looked into
python scripts/fuzz/fuzz.py --one TARGET -- [options of libFuzzer]

A find is kept in tests/corpus/TARGET, where tests/test_corpus.py replays it.
"""

import argparse
import hashlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "corpus"
RESULTS = ROOT / "scripts" / "bench" / "results" / "fuzz.json"
SERVICE = "service"
MEMORY_MB = 3_000  # a reader that wants more is a find
PREFIX = "-artifact_prefix="
UNIT_SECONDS = 20  # one that takes longer, too
COUNTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


def names() -> list[str]:
    from targets import targets

    return [name for name, _ in targets(Path(tempfile.gettempdir()))] + [SERVICE]


def one(name: str, options: list[str]) -> None:
    """Fuzz in this process until libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["gnnrec"], enable_loader_override=False):
        from targets import service_target, targets

    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, ExitStack() as stack:
        if name == SERVICE:
            target = service_target(Path(place), stack)
        else:
            target = dict(targets(Path(place)))[name]()
        seeds = Path(place) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(target.seeds):
            target(seed)
            (seeds / str(number)).write_bytes(seed)
        finds = Path(next(option for option in options if option.startswith(PREFIX)).removeprefix(PREFIX))
        atheris.Setup([sys.argv[0], *options, str(seeds)], Kept(target, finds))
        atheris.Fuzz()


def blind(name: str, seconds: int, finds: Path) -> None:
    """Damaged seeds in this process, for so long; says how many as libFuzzer does."""
    from targets import service_target, targets

    chance, count = random.Random(time.time_ns()), 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place, ExitStack() as stack:
        there = Path(place)
        target = service_target(there, stack) if name == SERVICE else dict(targets(there))[name]()
        kept, end = Kept(target, finds), time.monotonic() + seconds
        while time.monotonic() < end:
            kept(damaged(target.seeds, chance))
            count += 1
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)


def damaged(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """A seed with one to four pieces changed: bytes, cuts, repeats, pieces of another one; often near its start."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(data), chance.choice((16, 512, 1 << 30))) + 1)
        size = chance.choice((0, 1, 1, 1, 2, 4, 16))
        other = chance.choice(seeds)
        start = chance.randrange(len(other) + 1)
        new = chance.choice((chance.randbytes(size), b"", other[start : start + size], bytes(data[at : at + size]) * 2))
        data[at : at + size] = new
    return bytes(data)


class Kept:
    """A target that goes on after a find; the first input of each kind, by exception and place, becomes a file."""

    def __init__(self, target: Callable[[bytes], object], finds: Path) -> None:
        self.target, self.finds = target, finds
        self.kinds: set[str] = set()

    def __call__(self, data: bytes) -> None:
        try:
            self.target(data)
        except BaseException as error:  # a panic of Rust is no Exception
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/gnnrec/" in frame.filename]
            kind = (
                f"{type(error).__name__} at {frames[-1].name if frames else '?'}:{frames[-1].lineno if frames else 0}"
            )
            if kind not in self.kinds:
                self.kinds.add(kind)
                (self.finds / f"find-{hashlib.sha256(data).hexdigest()[:12]}").write_bytes(data)
                print(f"FIND {kind}: {str(error)[:200]!r}", file=sys.stderr)


def run(name: str, seconds: int, at_random: bool) -> tuple[int, list[str]]:
    """Executions of one target in a process of its own, and the finds."""
    finds = Path(tempfile.mkdtemp(prefix="finds-"))
    limits = [f"-max_total_time={seconds}", f"-timeout={UNIT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}", "-max_len=8192"]
    command = [
        sys.executable,
        __file__,
        "--one",
        name,
        "--",
        *limits,
        "-print_final_stats=1",
        f"{PREFIX}{finds}/",
    ]
    if at_random:
        command = [sys.executable, "-W", "ignore", __file__, "--one", name, "--blind"]
        command += ["--seconds", str(seconds), "--", f"{PREFIX}{finds}/"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    counted = COUNTED.search(done.stderr)
    found = []
    for path in finds.iterdir():
        kept = CORPUS / name.replace("/", "_") / path.name[:24]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        found.append(str(kept.relative_to(ROOT)))
    if found or counted is None:
        told = [line for line in done.stderr.splitlines() if line.startswith(("FIND", "SUMMARY"))]
        print(*(told or [done.stderr[-2000:]]), sep="\n", file=sys.stderr)
    shutil.rmtree(finds)
    return int(counted.group(1)) if counted else 0, found


def record(name: str, executions: int, seconds: float, finds: list[str]) -> None:
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    old = next(
        (row for row in rows if row["variant"] == name), {"metrics": {"executions": 0, "finds": 0}, "seconds": 0}
    )
    counts = {"executions": old["metrics"]["executions"] + executions, "finds": old["metrics"]["finds"] + len(finds)}
    new = {"dataset": "readers", "variant": name, "metrics": counts, "seconds": round(old["seconds"] + seconds)}
    rows = [row for row in rows if row["variant"] != name] + [new]
    RESULTS.write_text(json.dumps(sorted(rows, key=lambda row: row["variant"]), indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*", help="default: all")
    parser.add_argument("--one", help="fuzz this target in this process")
    parser.add_argument("--blind", action="store_true", help="damage at random, without atheris")
    parser.add_argument("--seconds", type=int, default=60, help="of each target")
    mine, options = (
        (sys.argv[1:], [])
        if "--" not in sys.argv
        else (
            sys.argv[1 : sys.argv.index("--")],
            sys.argv[sys.argv.index("--") + 1 :],
        )
    )
    asked = parser.parse_args(mine)
    if asked.one and asked.blind:
        blind(asked.one, asked.seconds, Path(options[0].removeprefix(PREFIX)))
        return
    if asked.one:
        one(asked.one, options)
        return
    for name in asked.targets or names():
        began = time.monotonic()
        executions, finds = run(name, asked.seconds, asked.blind)
        record(name, executions, time.monotonic() - began, finds)
        print(f"{name}: {executions:,} executions, {len(finds)} finds {' '.join(finds)}", flush=True)


if __name__ == "__main__":
    main()
