"""`gnnrec forget`: a run as if it had never seen a user.

Exact unlearning in its plainest form: the rows are taken out and the run is trained anew, by the same settings and the
same seed, so that its weights are those of a run on data that never had her; one that update or refit made, by all
the steps that led to it (retrain.py). Shards (Bourtoule et al. 2021; for
recommenders Chen et al. 2022) would save time, not make it more exact.

    RUN.forgetting         the new run while it is trained; a stopped call goes on there
    RUN.forgetting.steps   the runs that it is made of, meanwhile
    RUN.forgotten          certificates, which hold no id

The two runs change places at one moment. What the certificate says of the time before is kept (pending.py) before
anything is deleted, and the user stays due (due.py) until the certificate is written: so a call that was stopped goes
on to the same one, and is told from one about nobody.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from gnnrec.datasets import Dataset, Feedback, read_events
from gnnrec.datasets.feedback import forget_events, held
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.datasets.sources.partitions import Partitions
from gnnrec.due import FILE as DUE
from gnnrec.due import Entry, mark_due, read_due
from gnnrec.errors import UserError
from gnnrec.files import exchange
from gnnrec.fingerprints import fingerprint
from gnnrec.lineage import steps_of
from gnnrec.privacy.caches import (
    answers,
    cached_files,
    content_of,
    count_features,
    drop_answers,
    drop_features,
    drop_profiles,
)
from gnnrec.privacy.certificate import Certificate
from gnnrec.privacy.erase import all_files, copy_without, count_rows, erase_in_place
from gnnrec.privacy.exports import export_run, exports_among, read_export
from gnnrec.privacy.pending import Pending, check_alone, pending_of, with_pending
from gnnrec.privacy.retrain import History, discard, retrain, steps_beside
from gnnrec.privacy.search import Needle, find_id
from gnnrec.run_folder import Run
from gnnrec.vault import sha256_of, write_json

HASHED = ("weights", "embeddings", "lists", "graph")  # .safetensors of a run that are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetConfig:
    """data: where a copy of the dataset without the user is written, or stands already; erase: whether the dataset's
    own files are changed instead. Neither: the data does not hold her any more."""

    data: Path | None = None
    erase: bool = False
    also: tuple[Path, ...] = ()  # exports, which are written anew, and any other folders to search
    feedback: Path | None = None  # a log beside the run's own
    settings: tuple[str, ...] = ()  # laid over the run's own, where an encoder learnt from the user

    def __post_init__(self) -> None:
        if self.data is not None and self.erase:
            raise UserError("forget: found --data and --erase; allowed: one of them")


def forget_later(folder: Path, user: str) -> None:
    """Mark the run as due; commands and services refuse the user from now on. Raises UserError for an unknown id."""
    run = Run.load(folder)
    key = run.user_key(user)
    if key not in run.user_ids:
        raise UserError(f"{folder}: no user with the id {user!r}")
    mark_due(folder, key)


def forget(
    folder: Path, user: str, config: ForgetConfig | None = None, say: Callable[[str], None] = lambda line: None
) -> Certificate:
    """Take the user out of data, feedback and caches, train the run anew, export anew, search, and certify.

    Raises UserError for an id that nothing here knows, where the data holds her and `config` says nothing of it, where
    a service has the feedback open, where an encoder has learnt from a log with her, and where the run was made of
    others in a way that cannot be taken again.
    """
    began = time.monotonic()
    case = Case.of(folder, user, config or ForgetConfig())
    due = read_due(folder)
    if not any(entry.begun for entry in due):
        discard(*case.works)  # of nobody who is still to be forgotten
    begun = pending_of(due, case.key)
    source = case.trained_on if begun is None else Path(begun.source)
    rows = count_rows(source, case.names, case.partitions) if source.is_dir() else {}
    feedback = {str(path): sum(event["user"] in case.names for event in read_events(path)) for path in case.logs}
    check_allowed(case, source, rows, known=any(rows.values()) or any(feedback.values()))
    check_alone(due, case.key)
    for path in case.logs:
        with held(path):  # told now, before she is marked
            pass
    contents = set[str]()
    if (begun is None or not begun.trained) and rows.get("users"):
        # While it can be told; without feedback, which has no content and may have shrunk
        contents = content_of(Dataset.load(source, None, case.pseudonyms, case.run.partitions), case.key)
    pending = begun or before_all(case, source, rows, contents)
    history = None
    if pending.retrained and not pending.trained:
        history = History.of(case.run, case.config.settings)
        history.check_encoders()
    pending = replace(pending, feedback=feedback | pending.feedback)  # a log may be named in a later call only
    mark_due(folder, case.key)
    leave_due(folder, with_pending(read_due(folder), case.key, pending))
    drop_features(contents)
    data = clear_data(case, pending)
    for path in case.logs:
        for name in case.names:
            forget_events(path, name)
    dataset = Dataset.load(data, feedback_of(case.run, pending), case.pseudonyms, case.run.partitions)
    if not pending.trained:
        drop_profiles(case.run)  # before others' are made anew
    if history is not None:
        take_place(case, pending, dataset, history, say)
    discard(*case.works)  # the old run, if any, before it is said that the user is in no file
    certificate = certify(case, pending, dataset, data, began)
    for path in certificate.save(case.beside("forgotten")):
        say(f"certificate: {path}")
    leave_due(folder, [entry for entry in read_due(folder) if not entry.matches(case.key)])
    return certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Whom a call is about, and the run as the call found it."""

    folder: Path
    run: Run
    user: str  # the id as it was typed
    key: str  # as it stands in the run
    pseudonyms: Pseudonyms | None
    logs: list[Path]  # of feedback
    partitions: tuple[Partitions, ...]  # all in their folders, those too that the run has not read
    config: ForgetConfig

    @classmethod
    def of(cls, folder: Path, user: str, config: ForgetConfig) -> "Case":
        run = Run.load(folder)
        check = run.provenance["dataset"].get("pseudonyms")
        pseudonyms = None if check is None else Pseudonyms.required(check)
        key = user if pseudonyms is None else pseudonyms.of(user)
        logs = feedback_logs(run, config.feedback)
        return cls(
            folder=folder,
            run=run,
            user=user,
            key=key,
            pseudonyms=pseudonyms,
            logs=logs,
            partitions=all_files(run.partitions),
            config=config,
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.user, self.key)))

    @property
    def trained_on(self) -> Path:
        return Path(self.run.provenance["dataset"]["path"])

    @property
    def works(self) -> tuple[Path, Path]:
        """The new run, and the runs that it is made of, while they are trained."""
        work = self.beside("forgetting")
        return work, steps_beside(work)

    def beside(self, suffix: str) -> Path:
        place = self.folder.resolve()
        return place.with_name(f"{place.name}.{suffix}")


def check_allowed(case: Case, source: Path, rows: dict[str, int], known: bool) -> None:
    """known: whether data or feedback hold the user. Raises UserError as `forget` says, before anything is changed."""
    folder, run = case.folder, case.run
    if not (known or case.key in run.user_ids or case.key in run.refused):
        raise UserError(f"{folder}: no user with the id {case.user!r}, neither in the run nor in its data and feedback")
    if run.partitions and case.config.data is not None:
        raise UserError(
            f"forget --data: {folder} was updated, and a copy of its dataset lacks what its partitions name there; "
            "allowed: --erase, or take the rows of this user out yourself first"
        )
    if any(rows.values()) and case.config.data is None and not case.config.erase:
        places = ", ".join(map(str, [source, *(part.folder for part in case.partitions)]))
        copy = "" if run.partitions else "--data NEW (a copy without them), "
        raise UserError(
            f"{places}: holds {sum(rows.values()):,} rows of this user; allowed: {copy}--erase (change its files), "
            "--later, or take them out yourself first"
        )


def before_all(case: Case, source: Path, rows: dict[str, int], contents: set[str]) -> Pending:
    """What can be told of the run and the caches as long as nothing is changed. contents: hashes of her own."""
    return Pending(
        source=str(source),
        rows=rows,
        feedback={},
        num_events=events_left(case.run, case.names),
        cached_features=count_features(contents),
        cached_answers=len(answers()),
        retrained=case.key in case.run.user_ids or any(rows.values()),
        hashes=hashes_of(case.folder),
        names=sorted(path.name for path in case.folder.iterdir() if not path.name.startswith(".tmp")),
    )


def clear_data(case: Case, pending: Pending) -> Path:
    """The dataset without the user, as the settings want it made. Returns where the run is, or will be, trained on."""
    source, config = Path(pending.source), case.config
    if config.erase:
        erase_in_place(source, case.names, case.partitions)
    elif config.data is not None and not pending.trained and not is_ready(config.data, case.names):
        copy_without(source, case.names, config.data)
    data = source if config.data is None else config.data
    return case.trained_on if pending.trained and data.resolve() != case.trained_on else data


def take_place(case: Case, pending: Pending, dataset: Dataset, history: History, say: Callable[[str], None]) -> None:
    """A run on the dataset is trained beside the old one, then the two change places."""
    if case.key in dataset.user_ids:
        raise UserError(f"{dataset.root}: still holds the user")
    work = case.beside("forgetting")
    retrain(history, work, dataset, say)
    leave_due(work, with_pending(read_due(case.folder), case.key, replace(pending, trained=True)))
    exchange(case.folder.resolve(), work)


def certify(case: Case, pending: Pending, dataset: Dataset, data: Path, began: float) -> Certificate:
    """After the answers are gone and the exports written anew: what was done, and where her id is found still.

    began: of the call, on the monotonic clock.
    """
    now = Run.load(case.folder)
    files, gone = compared(pending, case.folder) if pending.retrained else ([], [])
    drop_answers()
    exports = exports_among(case.config.also)
    for export in exports:
        if (found := read_export(export)) is not None:
            export_run(now, export, found[0])
    searches, how = search(case, data)
    source = Path(pending.source)
    original = source != data and source.is_dir() and any(count_rows(source, case.names).values())
    return Certificate(
        run=str(case.folder),
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(time.monotonic() - began, 3),
        data=str(data),
        rows=pending.rows,
        feedback_events=sum(pending.feedback.values()),
        cached_features=pending.cached_features,
        cached_answers=pending.cached_answers,
        retrained=pending.retrained,
        files=files,
        gone=gone,
        exports=[str(path) for path in exports],
        searched=max(number for _, number in searches),
        search=how,
        found=sorted({str(path) for paths, _ in searches for path in paths}),
        original=str(source) if original else None,
        fingerprint=fingerprint(dataset),
    )


def search(case: Case, data: Path) -> tuple[list[tuple[list[Path], int]], str]:
    """For each form of the id, the files that hold it and how many were read; and how they were searched."""
    aside = case.beside("replaced")  # the old run, where `exchange` is three renames and was stopped
    older = [Path(step.folder) for step in steps_of(case.run)[:-1]]  # runs that this one was made of, where they are
    updates = [part.folder for part in case.partitions]
    places = [case.folder, data, *updates, aside, *older, *case.logs, *cached_files(), *case.config.also]
    searches = [find_id(Needle(case.key, frozenset({*Needle(case.key).columns, *id_columns(data)})), places)]
    typed = Needle(case.user)
    if case.user != case.key:  # the run has pseudonyms: the id itself may not stand in it either
        searches.append(find_id(typed, [case.folder, aside, *older, *case.config.also]))
    return searches, "byte by byte" if typed.distinctive else "where ids of users stand"


def is_ready(folder: Path, names: Sequence[str]) -> bool:
    """Whether a dataset without the user stands there already. Raises UserError where it is one with her."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return False
    if any(count_rows(folder, names).values()):
        raise UserError(f"{folder}: holds rows of this user; allowed: a new folder, or a dataset without her")
    return True


def feedback_logs(run: Run, more: Path | None) -> list[Path]:
    """Of the run: what it was trained with, what a service beside it writes, and one that is named."""
    trained = run.provenance["dataset"].get("feedback")
    beside = run.folder.resolve().with_name(f"{run.folder.resolve().name}.feedback.jsonl")
    paths = [Path(trained["path"])] if trained else []
    paths += [beside, *([] if more is None else [more.resolve()])]
    return [path for path in dict.fromkeys(paths) if path.is_file()]


def events_left(run: Run, names: Sequence[str]) -> int | None:
    """How many of the events that the run was trained with are of others; None where it was trained without."""
    trained = run.provenance["dataset"].get("feedback")
    if not trained:
        return None
    return sum(event["user"] not in names for event in read_events(Path(trained["path"]))[: trained["num_events"]])


def feedback_of(run: Run, pending: Pending) -> Feedback | None:
    """The events that the run was trained with, without the user's, once these are out of the log."""
    if pending.num_events is None:
        return None
    return Feedback(path=Path(run.provenance["dataset"]["feedback"]["path"]), num_events=pending.num_events)


def hashes_of(run: Path) -> dict[str, str]:
    paths = [run / f"{stem}.safetensors" for stem in HASHED]
    return {path.name: sha256_of(path) for path in paths if path.is_file()}


def compared(pending: Pending, run: Path) -> tuple[list[dict[str, str | None]], list[str]]:
    """The files of a run with sha256 before and after, and the names of those that were not made again."""
    before, after = pending.hashes, hashes_of(run)
    names = [name for name in (f"{stem}.safetensors" for stem in HASHED) if name in before or name in after]
    files = [{"name": name, "before": before.get(name), "after": after.get(name)} for name in names]
    return files, sorted({*pending.names} - {path.name for path in run.iterdir()})


def leave_due(folder: Path, due: Sequence[Entry]) -> None:
    """These and nobody else are due from now on."""
    if due:
        write_json(folder / DUE, {"due": [asdict(entry) for entry in due]})
    else:
        (folder / DUE).unlink(missing_ok=True)


def id_columns(folder: Path) -> list[str]:
    """The columns in which the dataset has ids of users."""
    from gnnrec.datasets.sources import read_raw

    raw = read_raw(folder)
    return [raw.log.user, *(raw.friends.columns[:2] if raw.friends else [])]
