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
