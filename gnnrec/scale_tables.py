"""Tables of what grows: what an update found."""

from collections.abc import Mapping
from typing import Any

from gnnrec.errors import count
from gnnrec.tables import facts_tables, table


def update_tables(document: Mapping[str, Any]) -> str:
    """The document of `update.update` for people."""
    drift, drawn = document["drift"], [facts_tables({"new": document["new"]})]
    if popularity := drift["popularity"]:
        rows = [(name, popularity[name], popularity[f"{name}_by_chance"]) for name in ("jensen_shannon", "psi")]
        drawn.append(table(("popularity of items", "found", "by chance"), rows, "drift", numbers=("found", "by chance")))
    if features := drift["features"]:
        rows = [(name, one["items"], one["mean_shift"], one["by_chance"]) for name, one in features.items()]
        columns = ("features of new items", "items", "mean shift, SDs", "by chance")
        drawn.append(table(columns, rows, "drift of content", numbers=columns[1:]))
    newest = document["newest"]
    if newest is None:
        drawn.append("newest rows: none of them is a test row by this split, so before and after cannot be compared")
    for part, one in (newest or {}).items():
        rows = []
        for metric in one["before"]:
            low, high = one["difference"][metric]["interval"] if "difference" in one else (None, None)
            rows.append((metric, one["before"][metric], one["after"][metric], low, high))
        columns = ("metric", "before", "after", "low", "high")
        title = f"newest rows, {part}, {count(one['users'], 'user')}; 95 % interval of after - before"
        drawn.append(table(columns, rows, title, numbers=columns[1:]))
    return "\n\n".join(drawn)
