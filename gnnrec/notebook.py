"""How objects show themselves in a notebook: small tables in HTML, every text escaped, nothing loaded from anywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

LONGEST = 120  # signs of a cell
MOST_ROWS = 30


@dataclass(frozen=True, slots=True)
class Picture:
    """A cell with a picture as data URI, made by us; None where there is none."""

    uri: str | None


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of the first MOST_ROWS rows; the first column names them. Below it how many more there are."""
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = [f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows[:MOST_ROWS]]
    more = len(rows) - MOST_ROWS
    rest = f"<p>and {more:,} more</p>" if more > 0 else ""
    top = f"<thead><tr>{columns}</tr></thead>" if head else ""
    return f"<table><caption>{escape(caption)}</caption>{top}<tbody>{''.join(lines)}</tbody></table>{rest}"


def _cell(value: Any) -> str:
    if isinstance(value, Picture):
        return f'<td><img src="{escape(value.uri)}" alt=""></td>' if value.uri else "<td></td>"
    if isinstance(value, float):
        text = f"{value:.4f}"
    elif isinstance(value, int):
        text = f"{value:,}"
    else:
        text = "" if value is None else str(value)
    return f"<td>{escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + '…')}</td>"
