"""What every benchmark writes: rows {dataset, variant, seeds, metrics, spread, seconds, peak_mb, command, machine}."""

import json
import resource
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnnrec.files import write_json
from gnnrec.machine import machine
from gnnrec.significance import Comparison

RESULTS = Path(__file__).parent / "results"
SHARED = Path(__file__).parents[3] / "shared" / "data"  # working data that may not be shipped


def row(
    dataset: str, variant: str, seeds: Sequence[int], values: Sequence[Mapping[str, float]], seconds: float, **more: Any
) -> dict[str, Any]:
    """One row from one mapping of metrics per seed: means, and standard deviations over the seeds."""
    return {
        "dataset": dataset,
        "variant": variant,
        "seeds": list(seeds),
        "metrics": {name: statistics.fmean(value[name] for value in values) for name in values[0]},
        "spread": {
            name: statistics.stdev(value[name] for value in values) if len(values) > 1 else 0.0 for name in values[0]
        },
        "seconds": round(seconds, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "command": shlex.join(["python", str(Path("scripts/bench") / Path(sys.argv[0]).name), *sys.argv[1:]]),
        "machine": machine(),
    } | more


def save(name: str, rows: Sequence[Mapping[str, Any]], each_processor: bool = False) -> None:
    """Put rows into results/NAME.json; one of the same dataset and variant (and processor) is replaced, others stay."""

    def key(entry: Mapping[str, Any]) -> tuple[str | None, ...]:
        processor = entry["machine"].get("processor") if each_processor else None
        return entry["dataset"], entry["variant"], processor

    path = RESULTS / f"{name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    fresh = {key(entry) for entry in rows}
    kept = [entry for entry in old if key(entry) not in fresh]
    write_json(path, kept + list(rows))


def tested(found: Comparison) -> dict[str, Any]:
    """What is kept of one paired comparison; `p` is that of the randomisation test."""
    return {
        "difference": found.difference,
        "interval": list(found.interval),
        "p": found.p_randomisation,
        "users": found.num_users,
    }


def drop_tests(dataset: str, variants: Iterable[str]) -> None:
    """Take the tests of variants out of results/significance.json, whose figures are new and were not tested."""
    path = RESULTS / "significance.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    left = {name: test for name, test in kept.get(dataset, {}).items() if name not in set(variants)}
    write_json(path, kept | {dataset: left})


def save_tests(dataset: str, tests: Mapping[str, Any]) -> None:
    """Put the tests of a dataset into results/significance.json, as a whole: no old p stands beside a new figure."""
    path = RESULTS / "significance.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, kept | {dataset: tests})
