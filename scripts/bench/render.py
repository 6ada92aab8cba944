"""Render the tables of README.md and docs/*.md from scripts/bench/results/*.json, between markers. No figure is typed.

python scripts/bench/render.py [--check]
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import content_tables
import distributed_tables
import people_tables
import privacy_tables
import private_tables
import refit_tables
import sample_tables
import scale_tables
import speed_tables
import stream_tables
import trust_tables
import weights_tables
from goals import goals
from tables import load, table, value

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def accuracy(prefix: str = "") -> str:
    """Figures on test, or with "val " those of the data whose test rows are kept back."""
    tests, rows, first = load("significance") or {}, [], f"{prefix}ndcg@10"
    entries = [entry for entry in load("accuracy") if bool(prefix) != ("ndcg@10" in entry["metrics"])]
    for entry in sorted(entries, key=lambda entry: (entry["dataset"], entry["metrics"][first])):
        against = tests.get(entry["dataset"], {}).get(entry["variant"])
        rows.append(
            [
                entry["dataset"],
                entry["variant"],
                value(entry, f"{prefix}recall@20"),
                value(entry, first),
                value(entry, f"{prefix}ndcg@20"),
                f"{against['ndcg@10']['p']:.4f}" if against else "",
                str(len(entry["seeds"])),
                f"{entry['seconds']:.0f}",
            ]
        )
    return table(["data", "model", "Recall@20", "NDCG@10", "NDCG@20", "p", "seeds", "seconds"], rows)


def step() -> str:
    rows = [
        [
            entry["variant"],
            f"{entry['metrics']['cpu_ms_per_step']:.1f}",
            f"{entry['metrics']['times_gnnrec']:.2f} (IQR {entry['spread']['times_gnnrec']:.2f})",
        ]
        for entry in load("step")
    ]
    return table(["training step", "CPU ms", "times gnnrec"], rows)


def rank() -> str:
    rows = [
        [
            entry["variant"],
            f"{entry['metrics']['users_per_second']:,.0f} (IQR {entry['spread']['users_per_second']:,.0f})",
            f"{entry['metrics']['times_faiss']:.2f} (IQR {entry['spread']['times_faiss']:.2f})",
        ]
        for entry in load("rank")
    ]
    return table(["full ranking", "users/s", "times faiss"], rows)


def account() -> str:
    rows = []
    for entry in load("account"):
        found = entry["metrics"]
        times = f"{found['times_floor']:.2f}" if "times_floor" in found else ""
        rows.append([entry["variant"], f"{found['cpu_ms']:.1f}", f"{found['floor_ms']:.1f}", times])
    return table(["part of a step", "CPU ms", "floor ms", "times floor"], rows)


def read() -> str:
    rows = [[entry["variant"], f"{entry['seconds']:.1f}", f"{entry['peak_mb'] / 1024:.2f}"] for entry in load("read")]
    return table(["10 million rows of CSV", "seconds", "peak GB"], rows)


def cold_start() -> str:
    rows = [
        [
            entry["dataset"],
            entry["variant"],
            f"{entry['metrics']['seconds']:.2f} (IQR {entry['spread']['seconds']:.2f})",
            f"{entry['metrics']['cpu']:.2f}",
            str(entry["runs"]),
            str(entry["peak_mb"]),
        ]
        for entry in load("cold_start")
    ]
    return table(["run", "gnnrec recommend", "seconds", "CPU seconds", "processes", "peak MB"], rows)


def serve() -> str:
    rows = []
    for entry in load("serve"):
        found = entry["metrics"]
        rows.append(
            [
                entry["dataset"],
                entry["variant"],
                f"{found['requests_per_second']:,.0f}",
                *(f"{found[name]:.1f}" for name in ("p50_ms", "p99_ms")),
                f"{found['faults'] + found['not_answered']:.0f}",
                f"{found['server_cpu_us']:.0f}",
                f"{found['mb_before']:.0f} → {found['mb_after']:.0f}",
                f"{found['first_answer_s']:.1f}",
                f"{entry['seconds']:.0f}",
                f"{found['load']:.1f}",
                entry["machine"].get("processor", "not kept"),
            ]
        )
    head = ["data", "asked", "requests/s", "median ms", "99 % ms", "faults", "server's CPU µs a request", "MB"]
    return table([*head, "first answer after s", "seconds", "load of the machine", "processor"], rows)


def scale() -> str:
    rows = []
    for entry in load("scale"):
        found = entry["metrics"]
        epoch = f"{found['epoch_seconds']:.0f}" + (
            f" ({found['measured_steps']:.0f} of {found['steps']:.0f} steps run)"
            if found["measured_steps"] < found["steps"]
            else ""
        )
        sizes = [entry["variant"], f"{entry['users']:,}", f"{entry['items']:,}"]
        times = [f"{found['graph_seconds']:.0f}", epoch, f"{found['evaluate_seconds']:.0f}"]
        rows.append([*sizes, *times, f"{entry['peak_mb'] / 1024:.1f}"])
    return table(["log", "users", "items", "graph s", "epoch s", "10,000 users ranked, s", "peak GB"], rows)


def rerank() -> str:
    """Set by set, tuned ones at the end. Rows measured before intervals and times of tuning were kept are without."""
    rows = []
    for entry in sorted(load("rerank"), key=lambda one: (one["dataset"], one["variant"].startswith("tuned"))):
        minutes, gain, p = entry.get("tuning_cpu_minutes"), f"{entry['gain']:+.4f}", f"{entry['p']:.3f}"
        if "interval" in entry:
            low, high = entry["interval"]
            gain += f" [{low:+.4f}, {high:+.4f}]"
        rows.append(
            [
                entry["dataset"],
                entry["variant"] + (f", {minutes:.0f} CPU min to tune" if minutes else ""),
                value(entry, "ndcg@10"),
                value(entry, "ndcg@10 in the window"),
                f"{entry['metrics']['weight']:.2g}",
                *((gain, p) if entry["variant"] not in ("base", "oracle") else ("", "")),
                str(len(entry["seeds"])),
            ]
        )
    head = ["data", "order", "NDCG@10", "where the window holds it", "weight", "gain [95 %]", "p", "seeds"]
    return table(head, rows)


def rerank_speed() -> str:
    rows = [
        [entry["variant"], f"{entry['metrics']['tokens']:.0f}"]
        + [f"{entry['metrics'][name]:.2f}" for name in ("one by one, median", "one by one, 95 %", "together")]
        + [
            f"{cost:.2f}" if (cost := entry["metrics"].get(name)) else ""
            for name in ("one by one, CPU", "together, CPU")
        ]
        + [f"{entry['metrics']['again']:.4f}"]
        for entry in load("rerank_speed")
    ]
    head = ["model", "tokens a user", "one by one, median s", "95 % under", "together, s a user"]
    return table([*head, "one by one, CPU s", "together, CPU s a user", "again, s a user"], rows)


def generated() -> str:
    rows = [
        [entry["variant"], value(entry, "ndcg@10"), value(entry, "recall@10"), f"{entry['seconds']:.1f}"]
        for entry in load("generate")
    ]
    return table(["list", "NDCG@10", "Recall@10", "s a user"], rows)


def reasons() -> str:
    rows = []
    for entry in load("explain"):
        found = entry["metrics"]
        rows.append(
            [
                entry["dataset"],
                f"{found['pairs']:.0f}",
                f"{found['statements']:.0f}",
                f"{found['true']:.1%}",
                f"{found['falls further than one random removal']:.1%}",
                f"{entry['seconds']:.1f}",
            ]
        )
    head = ["data", "pairs", "statements", "true", "score falls further than without others at random", "CPU s a pair"]
    return table(head, rows)


def examples() -> str:
    rows = []
    for entry in load("examples"):
        low, high = entry["interval"]
        name, _, question = entry["dataset"].partition(", ")
        ranked = f"{entry['metrics']['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]"
        sizes = [f"{entry[key]:,}" for key in ("users", "candidates")]
        shares = [f"{entry['metrics'][key]:.4f}" for key in ("recall@10", "coverage@10")]
        rows.append([name, question, *sizes, entry["variant"], ranked, *shares, f"{entry['seconds']:.0f}"])
    head = ["example", "question", "users", "items ranked", "model", "NDCG@10 [95 %]", "Recall@10", "coverage@10"]
    return table([*head, "CPU s, whole script"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "goals": lambda: table(["what", "goal", "ours", "reached", "beside"], goals(load)),
    "accuracy": accuracy,
    "validation": lambda: accuracy("val "),
    "cold": content_tables.cold,
    "content": content_tables.content,
    "alignment": content_tables.alignment,
    "alignment_ranking": content_tables.alignment_ranking,
    "transfer": content_tables.transfers,
    "missing": content_tables.missing,
    "forget": people_tables.forgotten,
    "privacy": privacy_tables.curve,
    "membership": privacy_tables.membership,
    "poisoning": privacy_tables.poisoning,
    "reasons": reasons,
    "rerank": rerank,
    "rerank_speed": rerank_speed,
    "generate": generated,
    "encoders": content_tables.encoders,
    "picture_encoders": content_tables.picture_encoders,
    "finetune": content_tables.finetune,
    "encoding": content_tables.encoding,
    "encoding_memory": content_tables.encoding_memory,
    "exports": content_tables.exports,
    "targets": content_tables.targets,
    "centring": content_tables.centring,
    "books": content_tables.books,
    "books_example": content_tables.books_example,
    "step": step,
    "account": account,
    "rank": rank,
    "speed": speed_tables.speed,
    "scale": scale,
    "refit": refit_tables.refitted,
    "sampled": sample_tables.sampled,
    "distributed": distributed_tables.distributed,
    "table_memory": weights_tables.memory,
    "table_lists": weights_tables.lists,
    "stream": stream_tables.stream,
    "long_log": stream_tables.long_log,
    "index_shards": scale_tables.index_shards,
    "huge": sample_tables.huge,
    "huge_curve": sample_tables.huge_curve,
    "read": read,
    "cold_start": cold_start,
    "serve": serve,
    "private": private_tables.private,
    "examples": examples,
    "update": scale_tables.update,
    "ray_encode": scale_tables.ray_encode,
    "plan": scale_tables.plan,
    "trust": trust_tables.trust,
    "encrypt": trust_tables.encryption,
    "cipher": trust_tables.cipher,
}


def render(pages: Mapping[Path, str]) -> dict[Path, str]:
    """The pages with every table where its markers are; it ends the program where they are in no page, or twice."""
    made = dict(pages)
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        places = [page for page, text in made.items() for _ in range(text.count(begin))]
        if len(places) != 1 or end not in made[places[0]]:
            sys.exit(f"{name!r}: found markers in {[str(page) for page in places]}; allowed: one pair in one page")
        before, _, rest = made[places[0]].partition(begin)
        made[places[0]] = before + begin + make() + end + rest.partition(end)[2]
    return made


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="fail where a page is not what the results say")
    options = parser.parse_args()
    old = {page: page.read_text(encoding="utf-8") for page in PAGES}
    changed = {page: text for page, text in render(old).items() if text != old[page]}
    if options.check and changed:
        sys.exit(f"{', '.join(map(str, changed))}: tables differ from results; run scripts/bench/render.py")
    for page, text in changed.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
