"""What a certificate says of the time before a forgetting, which cannot be told once that has begun.

It stands in the user's entry of RUN/due.json: sealed where the run is, without an id, and gone with the entry.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from gnnrec.due import Entry
from gnnrec.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    source: str  # the data that the run was trained on
    rows: dict[str, int]
    feedback: dict[str, int]  # events of hers by log
    num_events: int | None  # of others, that the run was trained with; None where it was trained without feedback
    cached_features: int
    cached_answers: int
    retrained: bool  # whether the run has to be
    hashes: dict[str, str]
    names: list[str]  # of the run's files
    trained: bool = False  # in the new run: as the two runs change places, so does what is true


def pending_of(entries: Sequence[Entry], user: str) -> Pending | None:
    """None where nothing has begun. Raises UserError for what is not one of `with_pending`."""
    begun = next((entry.begun for entry in entries if entry.begun and entry.matches(user)), None)
    try:
        return Pending(**begun) if begun else None
    except TypeError as error:
        raise UserError(f"due.json: damaged: {error}") from error


def check_alone(entries: Sequence[Entry], user: str) -> None:
    """Raises UserError while another user is half forgotten: each call counts in what the other takes away."""
    if any(entry.begun and not entry.matches(user) for entry in entries):
        raise UserError(
            "forget: a call about another user was stopped; allowed: that call again, first (--later marks this one)"
        )


def with_pending(entries: Sequence[Entry], user: str, pending: Pending) -> list[Entry]:
    return [replace(entry, begun=asdict(pending)) if entry.matches(user) else entry for entry in entries]
