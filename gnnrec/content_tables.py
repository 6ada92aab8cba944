"""Tables of what content alone is worth on other data."""

from collections.abc import Mapping
from typing import Any

from gnnrec.errors import count
from gnnrec.tables import table
from gnnrec.transfer import METRICS, QUESTIONS, TESTED


def transfer_tables(document: Mapping[str, Any]) -> str:
    """`transfer.measure_transfer` for people."""
    return "\n\n".join(_question(document, name) for name in QUESTIONS)


def _question(document: Mapping[str, Any], name: str) -> str:
    found = document[name]
    rows = []
    for variant, values in found["metrics"].items():
        test = found["against"].get(variant)
        compared = [test["difference"], test["p_holm"]] if test else [None, None]
        rows.append([variant, *(values[metric] for metric in METRICS), *compared])
    columns = ["ranked by", *METRICS, f"{TESTED}, ours more by", "p (Holm)"]
    title = f"{document['data']}, {name}, {count(found['users'], 'user')}"
    return table(columns, rows, title, numbers=columns[1:])
