"""Time to train, ours beside the peers'."""

from collections.abc import Sequence
from typing import Any

from tables import load, table

OWN = ("gnnrec", "gnnrec_random")  # LightGCN from factors, and from tables that start at random; see speed.py

Entry = dict[str, Any]


def speed() -> str:
    entries, rows = sorted(load("speed"), key=lambda entry: entry["dataset"]), []
    for entry in entries:
        found = entry["metrics"]
        took = f"{found['seconds_to_best']:.1f}" + (" (budget spent)" if entry["budget"] else "")
        ratios = [shown(times(entry, own)) for own in own_entries(entries, entry["dataset"])]
        name = entry["variant"]
        rows.append([entry["dataset"], name, f"{found['val ndcg@20']:.4f}", took, *ratios, str(entry["peak_mb"])])
    head = ["data", "training", "best validation NDCG@20", "CPU s to it", "times ours", "times ours from random tables"]
    return table([*head, "peak MB"], rows)


def own_entries(entries: Sequence[Entry], dataset: str) -> list[Entry | None]:
    """Our rows of a dataset, in the order of OWN."""
    return [
        next((e for e in entries if (e["dataset"], e["variant"]) == (dataset, f"{own}, 1 thread(s)")), None)
        for own in OWN
    ]


def times(peer: Entry, own: Entry | None) -> float | None:
    """The peer's seconds to its own best over ours to at least that value; 0 where we do not reach it, None where no
    training of ours was on the same machine."""
    if own is None:
        return None
    told = own["machine"].keys() & peer["machine"].keys()  # earlier rows do not tell processor and memory
    if any(own["machine"][key] != peer["machine"][key] for key in told):
        return None
    best = peer["metrics"]["val ndcg@20"]
    reached = [seconds for seconds, value in own["curve"] if value >= best]
    return peer["metrics"]["seconds_to_best"] / reached[0] if reached else 0.0


def shown(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}" if ratio else "not reached"
