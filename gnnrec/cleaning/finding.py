"""One thing that is wrong: where it stands, why it was taken for wrong, and the change that would mend it."""

from collections.abc import Callable
from dataclasses import dataclass

LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class DropRow:
    """A row of the log, by its line."""

    line: int


@dataclass(frozen=True, slots=True)
class DropUser:
    """A user, by id, with all rows, friends and features."""

    user: str


@dataclass(frozen=True, slots=True)
class Merge:
    """The item `item` becomes the item `into`, which stands before it in the file."""

    item: int  # row of the items
    into: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A field of the items or users is written anew; an empty text is missing content."""

    owner: str  # items, users
    row: int
    column: str
    rewrite: Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    kind: str  # of settings.KINDS
    file: str  # relative to the folder of the dataset
    reason: str
    line: int | None = None
    id: str | None = None  # of the item or user, where it is about one
    column: str | None = None
    value: str | None = None  # as far as it need be seen
    edit: DropRow | DropUser | Merge | Cell | None = None  # None: nothing to be done, or done by every reading


def empty(value: str) -> str:
    return ""


def shorten(value: str | None) -> str | None:
    return value if value is None or len(value) <= LONGEST_VALUE else value[:LONGEST_VALUE] + "…"
