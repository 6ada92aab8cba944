"""Tables of what grows: what an update found, what a training would take."""

from collections.abc import Mapping
from typing import Any

from gnnrec.errors import count
from gnnrec.tables import facts_tables, table

# What the seconds of a plan are of, where there are several machines: all others are of all machines together.
OF_MANY = {"step": ", were one machine alone", "sending": ", added to each step"}


def update_tables(document: Mapping[str, Any]) -> str:
    """The document of `update.update` for people."""
    rows: list[tuple[Any, ...]]
    columns: tuple[str, ...]
    drift, drawn = document["drift"], [facts_tables({"new": document["new"]})]
    if popularity := drift["popularity"]:
        rows = [(name, popularity[name], popularity[f"{name}_by_chance"]) for name in ("jensen_shannon", "psi")]
        drawn.append(
            table(("popularity of items", "found", "by chance"), rows, "drift", numbers=("found", "by chance"))
        )
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


def plan_tables(document: Mapping[str, Any]) -> str:
    """The document of `plan.plan` for people."""
    memory = [(name, f"{size / 1e9:,.2f}") for name, size in document["memory"].items()]
    many = document["machines"] > 1
    seconds = [
        (f"{name}{many * OF_MANY.get(name, '')}", f"{spent:,.4g}") for name, spent in document["seconds"].items()
    ]
    drawn = [
        table(("memory at the peak", "GB"), memory, numbers=("GB",)),
        table((f"time on {count(document['machines'], 'machine')}", "seconds"), seconds, numbers=("seconds",)),
    ]
    if "encoding" in document:
        columns = ("encoder", "items/s", "hours for all items")
        rows = [(one["encoder"], one["items_per_second"], f"{one['hours']:,.1f}") for one in document["encoding"]]
        drawn.append(table(columns, rows, numbers=columns[1:]))
    batch = f"{document['steps_per_epoch']:,} steps of {document['batch']:,} in an epoch"
    sent = f"{document['traffic_bytes'] / 1e12:,.2f} TB sent by each machine"
    drawn.append(f"{batch}; {sent}; {document['hours']:,.1f} hours in all")
    error = {name: f"{100 * share:.0f} %" for name, share in document["measured_error"].items()}
    drawn.append(
        f"beside trainings of up to 10 million interactions a step was off by up to {error['step']}, an epoch by "
        f"{error['epoch']}, evaluation by {error['evaluation']}, the graph by {error['graph']}, memory by "
        f"{error['memory']} (docs/scale.md)"
    )
    return "\n\n".join(drawn)
