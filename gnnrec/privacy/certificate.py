"""What was forgotten and where, without saying whom: JSON and text, beside the run."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnnrec.files import write_json, write_text

NOT_REACHED = (
    "databases that embeddings were written to: write them anew (gnnrec export --replace)",
    "other copies: backups, exports and reports that were not named by --also, trackers, the history of the shell",
    "services that have the run in memory refuse the user; start them again, or POST /admin/run",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    run: str
    made: str  # ISO 8601, UTC
    seconds: float
    data: str  # what the run is trained on now
    rows: dict[str, int]  # taken out of the data, by what they were: log, users, friends
    feedback_events: int
    cached_features: int
    cached_answers: int  # files of answers of language models, of everybody
    retrained: bool
    files: list[dict[str, str | None]]  # of the run: name, sha256 before and after
    gone: list[str]  # files of the run that were not made again, such as reports and tuned models
    exports: list[str]  # written anew
    searched: int  # files
    search: str  # how
    found: list[str]  # files that hold the id still
    original: str | None  # a dataset folder that holds the user still, since it was copied and not changed
    fingerprint: str  # sha256 of the data the run is trained on now

    @property
    def complete(self) -> bool:
        return not self.found and self.original is None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"complete": self.complete, "not_reached": list(NOT_REACHED)}

    def text(self) -> str:
        rows = ", ".join(f"{kind} {number:,}" for kind, number in self.rows.items()) or "none"
        lines = [
            f"A user was forgotten by {self.run}, {self.made}.",
            f"Rows taken out of the data: {rows}. Events of feedback: {self.feedback_events:,}.",
            f"Cached features: {self.cached_features:,}. Files of cached answers, of all: {self.cached_answers:,}.",
            f"Trained anew from {self.data} (sha256 {self.fingerprint})."
            if self.retrained
            else "The run did not know the user; it stays as it is.",
            *(
                f"  {one['name']}: {one['before'] or 'not there'} -> {one['after'] or 'not there'}"
                for one in self.files
            ),
            *(f"Not made again: {name}" for name in self.gone),
            *(f"Exported anew: {name}" for name in self.exports),
            f"Searched {self.searched:,} files {self.search}: {'the id is in none' if not self.found else 'found in'}",
            *(f"  {name}" for name in self.found),
        ]
        if self.original is not None:
            lines.append(f"Still holds the user: {self.original}, which was copied and not changed. Delete it.")
        return "\n".join([*lines, "Not reached from here:", *(f"  {line}" for line in NOT_REACHED)]) + "\n"

    def save(self, folder: Path) -> list[Path]:
        """Two files named after the moment; returns them."""
        stem = folder / time.strftime("%Y%m%dT%H%M%S", time.strptime(self.made, "%Y-%m-%dT%H:%M:%SZ"))
        number = len(list(folder.glob(f"{stem.name}*.json"))) if folder.is_dir() else 0
        paths = [stem.with_name(f"{stem.name}-{number}.{kind}") for kind in ("json", "txt")]
        write_json(paths[0], self.to_json())
        write_text(paths[1], self.text())
        return paths
