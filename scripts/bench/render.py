"""Render README's tables from scripts/bench/results/*.json, between its markers. No figure in README is typed.

python scripts/bench/render.py [--check]
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from goals import goals

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts/bench/results"
README = ROOT / "README.md"


def load(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def value(entry: dict[str, Any], name: str) -> str:
    spread = entry["spread"].get(name, 0.0)
    return f"{entry['metrics'][name]:.4f}" + (f" ± {spread:.4f}" if spread else "")


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


def cold() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("cold"):
        found = tests.get(entry["dataset"], {})
        marks = [
            f"{name.split(' against ')[1]}: {test['p']:.4f}"
            for name, test in found.items()
            if name.split(" against ")[0] == entry["variant"]
        ]
        rows.append([entry["dataset"], entry["variant"], value(entry, "ndcg@10"), "; ".join(marks)])
    return table(["data", "content", "NDCG@10", "p against"], rows)


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


def speed() -> str:
    rows = []
    for entry in load("speed"):
        found = entry["metrics"]
        ratio = f"{found['times_ours']:.2f}" if "times_ours" in found else "not reached by ours"
        took = f"{found['seconds_to_best']:.1f}" + (" (budget spent)" if entry["budget"] else "")
        ours = f"{found['our_seconds_to_it']:.1f}" if "our_seconds_to_it" in found else ""
        name = entry["variant"]
        rows.append([entry["dataset"], name, f"{found['val ndcg@20']:.4f}", took, ours, ratio, str(entry["peak_mb"])])
    return table(
        ["data", "training", "best validation NDCG@20", "CPU s to it", "our CPU s to it", "times ours", "peak MB"], rows
    )


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
    rows = [
        [
            entry["dataset"],
            entry["variant"],
            value(entry, "ndcg@10"),
            value(entry, "ndcg@10 in the window"),
            f"{entry['metrics']['weight']:.2g}",
            f"{entry['p']:.3f}" if entry["variant"] not in ("base", "oracle") else "",
            str(len(entry["seeds"])),
        ]
        for entry in load("rerank")
    ]
    return table(["data", "order", "NDCG@10", "where the window holds it", "weight", "p", "seeds"], rows)


def rerank_speed() -> str:
    rows = [
        [entry["variant"], f"{entry['metrics']['tokens']:.0f}"]
        + [f"{entry['metrics'][name]:.2f}" for name in ("one by one, median", "one by one, 95 %", "together")]
        + [f"{entry['metrics']['again']:.4f}"]
        for entry in load("rerank_speed")
    ]
    head = ["model", "tokens a user", "one by one, median s", "95 % under", "together, s a user", "again, s a user"]
    return table(head, rows)


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


def alignment() -> str:
    rows = []
    for entry in load("alignment"):
        sides, method = entry["variant"].split(", ")
        names, chance = ("r@1", "r@10", "mrr"), entry["chance"]
        found = [f"{value(entry, name)} ({chance[name]:.3f})" for name in names]
        rows.append([entry["dataset"], sides, method, *found, str(entry["candidates"])])
    return table(["data", "query to target", "by", "R@1 (chance)", "R@10 (chance)", "MRR (chance)", "candidates"], rows)


def content() -> str:
    """Means over seeds with intervals over users; p against no content, and of several against the best one alone."""
    tests, rows = load("significance") or {}, []
    for entry in load("content"):
        found, cells = tests.get(f"{entry['dataset']}, content", {}), []
        for measure in ("validation", "cold items"):
            low, high = entry["intervals"][measure]
            cells.append(f"{entry['metrics'][measure]:.4f} [{low:.4f}, {high:.4f}]")
            start, end = f"{entry['variant']} against ", f", {measure}"
            against = {
                key.removeprefix(start).removesuffix(end): test["p"]
                for key, test in found.items()
                if key.startswith(start) and key.endswith(end)
            }
            cells.append("; ".join(f"{other}: {p:.4f}" for other, p in against.items()))
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(
        ["data", "content (encoder), fusion", "validation", "p against", "cold items", "p against", "seeds"], rows
    )


def alignment_ranking() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("alignment_ranking"):
        cells = []
        for measure in ("validation", "cold items"):
            name = f"{measure} ndcg@10"
            cells.append(value(entry, name) if name in entry["metrics"] else "")
            found = tests.get(f"{entry['dataset']}, alignment", {})
            mine = [
                test["p"]
                for key, test in found.items()
                if key.startswith(f"{entry['variant']} against ") and key.endswith(f", {measure}")
            ]
            cells.append(f"{mine[0]:.4f}" if mine else "")
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["data", "variant", "validation", "p", "cold items", "p", "seeds"], rows)


def transfers() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("transfer"):
        found, cells = tests.get(f"{entry['dataset']}, transfer", {}), []
        for part in ("cold items", "all items"):
            test = found.get(f"transferred against {entry['variant']}, {part}")
            cells += [value(entry, f"{part} ndcg@10"), f"{test['p']:.4f}" if test else ""]
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["from, to", "ranked by", "cold items", "p", "all items", "p", "seeds"], rows)


def missing() -> str:
    rows = []
    for entry in load("missing"):
        cells = []
        for part in ("cold items", "validation"):
            share = entry["kept"][part]["share"]
            cells += [value(entry, f"{part} ndcg@10"), "–" if share is None else f"{share:.0%}"]
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["data", "removed, in its place", "cold items", "gain kept", "validation", "gain kept", "seeds"], rows)


def compressed(kind: str) -> list[dict[str, Any]]:
    return [entry for entry in load("compress") if entry["table"] == kind]


def encoders() -> str:
    rows = [
        [
            entry["variant"],
            f"{entry['metrics']['mb']:.1f}",
            f"{entry['metrics']['texts_per_second']:.0f}",
            f"{entry['metrics']['times_fp32']:.2f} (IQR {entry['spread']['times_fp32']:.2f})",
            f"{entry['metrics']['overlap@10']:.3f}",
            f"{entry['metrics']['overlap@10 held out']:.3f}",
            f"{entry['metrics']['ndcg@10']:.4f}",
        ]
        for entry in compressed("encoders")
    ]
    head = [
        "text encoder",
        "MB",
        "texts/s",
        "times fp32",
        "top-10 overlap",
        "of items held out",
        "NDCG@10, content alone",
    ]
    return table(head, rows)


def exports() -> str:
    rows = [
        [
            entry["variant"],
            f"{entry['metrics']['mb']:.2f}",
            f"{entry['metrics']['times_smaller']:.1f}",
            f"{entry['metrics']['overlap@10']:.3f}",
            f"{entry['metrics']['ndcg@10']:.4f}",
            f"{entry['metrics']['change']:+.1%}",
        ]
        for entry in compressed("embeddings")
    ]
    return table(["embeddings of movies", "MB", "times smaller", "top-10 overlap", "NDCG@10", "change"], rows)


def asked(kind: str) -> list[dict[str, Any]]:
    return [entry for entry in load("books") if entry["table"] == kind]


def centring() -> str:
    rows = [
        [entry["dataset"], entry["variant"], *(f"{entry['metrics'][name]:.3f}" for name in ("zh", "en"))]
        for entry in asked("centring")
    ]
    return table(["data", "items and queries", "in Chinese", "in English"], rows)


def books() -> str:
    rows = []
    for entry in asked("subjects"):
        cells = [f"{entry['metrics'][name]:.2f}" for name in ("zh", "en", "zh uniform", "en uniform")]
        rows.append([entry["variant"], entry["queries"][0], cells[0], entry["queries"][1], *cells[1:]])
    head = [
        "kind",
        "in Chinese",
        "precision",
        "in English",
        "precision",
        "我喜欢阅读…类的书籍。",
        "I like to read books about …",
    ]
    return table(head, rows)


def books_example() -> str:
    rows = []
    for entry in asked("example"):
        technical, *places = entry["metrics"].values()
        rows.append(
            [entry["variant"], f"{technical:.2f}", *(f"{place:.1f}" for place in places), str(len(entry["seeds"]))]
        )
    return table(
        ["query", "technical of ten", "place of 《深度学习》", "of 《人工智能：一种现代的方法》", "seeds"], rows
    )


TABLES: dict[str, Callable[[], str]] = {
    "goals": lambda: table(["what", "goal", "ours", "reached", "beside"], goals(load)),
    "accuracy": accuracy,
    "validation": lambda: accuracy("val "),
    "cold": cold,
    "content": content,
    "alignment": alignment,
    "alignment_ranking": alignment_ranking,
    "transfer": transfers,
    "missing": missing,
    "reasons": reasons,
    "rerank": rerank,
    "rerank_speed": rerank_speed,
    "generate": generated,
    "encoders": encoders,
    "exports": exports,
    "centring": centring,
    "books": books,
    "books_example": books_example,
    "step": step,
    "account": account,
    "rank": rank,
    "speed": speed,
    "scale": scale,
    "read": read,
    "cold_start": cold_start,
}


def render(text: str) -> str:
    for name, make in TABLES.items():
        begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        if not rest or not after:
            sys.exit(f"{README}: the markers of {name!r} are missing")
        text = before + begin + make() + end + after
    return text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="fail where README is not what the results say")
    options = parser.parse_args()
    old = README.read_text(encoding="utf-8")
    new = render(old)
    if options.check:
        sys.exit(0 if new == old else f"{README}: tables differ from results; run scripts/bench/render.py")
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
