"""What is true of a run as far as its own files say it: whom it holds, what of them, how it is protected."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time as clock
from typing import Any
from urllib.parse import urlsplit

from gnnrec.datasets import read_events
from gnnrec.due import read_due
from gnnrec.language.settings import ModelConfig
from gnnrec.llm.settings import LLMConfig
from gnnrec.privacy.anonymity import users_table
from gnnrec.run_folder import Run
from gnnrec.tensor_files import open_tensors
from gnnrec.vault import is_encrypted

LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Asked:
    """A language model behind an address, and what it is told of a user."""

    host: str
    model: str
    # lists: titles of what she took last; cards: that, her ratings and what her things have in common;
    # profiles: titles, and words that set her apart; pictures: of items
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    name: str
    run: str
    users: int
    items: int
    rows: int  # of the log, in train and val
    first: str | None  # day of the oldest row, where there are times
    last: str | None
    ratings: bool
    user_columns: tuple[str, ...]  # of the users' table, without the id
    user_content: tuple[str, ...]  # text, image, audio, profile: what users are described by
    friends: bool
    pseudonyms: bool
    retention_days: float | None
    epsilon: float | None
    delta: float | None
    encrypted: bool
    readable_by_others: bool  # any file of the run, by accounts of this machine other than the owner's
    feedback_events: int | None  # beside the run or trained on; None: there is no log
    asked: tuple[Asked, ...]
    tracked: tuple[str, ...]  # kinds of trackers that the command of the training named
    oldest_days: int | None  # age of the oldest row today, where there are times
    due: int
    model: str
    licence: str
    fingerprint: str
    rejected: int
    item_content: tuple[str, ...]
    split: str
    finished: str


def gather(run: Run, llm: LLMConfig) -> Facts:
    """llm: how the run is used with a language model, which no run knows of itself. Raises UserError as `Run.load`."""
    told: dict[str, Any] = run.provenance
    data, guarantee = told["dataset"], told.get("privacy") or {}
    table, columns = users_table(run, ())
    time = run.known.timestamp
    ends = (int(time[0]), int(time[-1])) if time is not None and len(time) else None
    return Facts(
        name=data["name"],
        run=str(run.folder),
        users=len(table),
        items=len(run.item_ids),
        rows=len(run.known),
        first=ends and _day(ends[0]),
        last=ends and _day(ends[1]),
        ratings=run.known.rating is not None,
        user_columns=tuple(name for name in columns if not name.startswith("__")),
        user_content=tuple(told["encoders"]["users"]),
        friends=_has_friends(run.folder / "graph.safetensors"),
        pseudonyms=data.get("pseudonyms") is not None,
        retention_days=data.get("retention_days"),
        epsilon=guarantee.get("epsilon"),
        delta=guarantee.get("delta"),
        encrypted=is_encrypted(run.folder),
        readable_by_others=any(path.stat().st_mode & 0o044 for path in run.folder.iterdir() if path.is_file())
        and bool(run.folder.stat().st_mode & 0o011),
        feedback_events=_events(run),
        asked=_asked(run, llm),
        tracked=_tracked(told.get("command", "")),
        oldest_days=ends and int(clock() - ends[0]) // 86_400,
        due=len(read_due(run.folder)),
        model=run.recipe.model_name,
        licence=data["licence"],
        fingerprint=data["fingerprint"],
        rejected=data["rejected_rows"],
        item_content=tuple(told["encoders"]["items"]),
        split=f"{told['split']['method']}: {told['split']['train']:,} train, {told['split']['val']:,} val",
        finished=told["finished"],
    )


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _has_friends(path: Path) -> bool:
    with open_tensors(path) as file:
        return any(key.startswith("edge/user/") and key.split("/")[3] == "user" for key in file.keys())  # noqa: SIM118


def _events(run: Run) -> int | None:
    trained = run.provenance["dataset"].get("feedback")
    folder = run.folder.resolve()
    paths = {folder.with_name(f"{folder.name}.feedback.jsonl"), *([Path(trained["path"])] if trained else [])}
    found = [len(read_events(path)) for path in paths if path.is_file()]
    return sum(found) if found else None


def _tracked(command: str) -> tuple[str, ...]:
    """The kinds of KIND:WHERE behind --track, however far that was spelled out."""
    kinds, here = list[str](), False
    for word in command.split():
        option, _, value = word.partition("=")
        if word.startswith("-"):
            here = len(option) > 2 and "--track".startswith(option)
            word = value
        if here and word:
            kinds.append(word.partition(":")[0])
    return tuple(kinds)


def _asked(run: Run, llm: LLMConfig) -> tuple[Asked, ...]:
    recipe = run.recipe
    uses: list[tuple[ModelConfig, str, bool]] = [
        (llm, "cards" if llm.cards(talks=True).whole else "lists", True),
        (recipe.profiles, "profiles", recipe.graph.profiles),
        (recipe.describe, "pictures", recipe.graph.descriptions),
    ]
    return tuple(
        Asked(urlsplit(config.base_url).hostname or config.base_url, config.model, what)
        for config, what, used in uses
        if used and config.provider == "openai"
    )
