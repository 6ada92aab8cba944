"""Rows of results/*.json as tables of Markdown: what all tables are made with."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> Any:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def value(entry: dict[str, Any], name: str) -> str:
    spread = entry["spread"].get(name, 0.0)
    return f"{entry['metrics'][name]:.4f}" + (f" ± {spread:.4f}" if spread else "")


def against(tests: dict[str, Any], variant: str, measure: str) -> dict[str, Any]:
    """Of tests named "VARIANT against OTHER, MEASURE" those of one variant and measure, by OTHER."""
    start, end = f"{variant} against ", f", {measure}"
    return {
        name.removeprefix(start).removesuffix(end): test
        for name, test in tests.items()
        if name.startswith(start) and name.endswith(end)
    }


def first_p(tests: dict[str, Any]) -> str:
    """p of the first of them, or nothing."""
    return next((f"{test['p']:.4f}" for test in tests.values()), "")
