"""`gnnrec forget`: a run as if it had never seen a user.

Exact unlearning in its plainest form: the rows are taken out and the run is trained anew, by the same settings and the
same seed, so that its weights are those of a run on data that never had her. Shards (Bourtoule et al. 2021; for
recommenders Chen et al. 2022) would save time, not make it more exact.

    RUN.forgetting   the new run while it is trained; a stopped call goes on there
    RUN.forgotten    certificates, which hold no id
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from gnnrec import finetuning
from gnnrec.datasets import Dataset, Feedback, read_events
from gnnrec.datasets.feedback import forget_events
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.due import FILE as DUE
from gnnrec.due import mark_due, read_due
from gnnrec.encoders.encode import MODALITIES
from gnnrec.encoders.fitted.folder import facts_of
from gnnrec.errors import UserError
from gnnrec.fingerprints import fingerprint
from gnnrec.privacy.caches import cached_files, content_of, drop_answers, drop_features, drop_profiles
from gnnrec.privacy.certificate import Certificate
from gnnrec.privacy.erase import copy_without, count_rows, erase_in_place
from gnnrec.privacy.exports import export_run, exports_among, read_export
from gnnrec.privacy.search import Needle, find_id
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run
from gnnrec.vault import is_encrypted, sha256_of, write_json

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
    a service has the feedback open, and where an encoder has learnt from a log with her.
    """
    config, began = config or ForgetConfig(), time.monotonic()
    run = Run.load(folder)
    check = run.provenance["dataset"].get("pseudonyms")
    pseudonyms = None if check is None else Pseudonyms.required(check)
    key = user if pseudonyms is None else pseudonyms.of(user)
    names = tuple(dict.fromkeys((user, key)))
    source = Path(run.provenance["dataset"]["path"])
    rows = count_rows(source, names) if source.is_dir() else {}
    logs = feedback_logs(run, config.feedback)
    told = any(event["user"] in names for path in logs for event in read_events(path))
    if key not in run.user_ids and not any(rows.values()) and not told:
        raise UserError(f"{folder}: no user with the id {user!r}, neither in the run nor in its data and feedback")
    if any(rows.values()) and config.data is None and not config.erase:
        raise UserError(
            f"{source}: holds {sum(rows.values()):,} rows of this user; allowed: --data NEW (a copy without them), "
            "--erase (change its files), --later, or take them out yourself first"
        )
    recipe = load_recipe(str(folder / "settings.toml"), config.settings)
    check_encoders(run, recipe)
    mark_due(folder, key)
    own = content_of(run.dataset(), key) if rows.get("users") else set()
    data = source if config.data is None else config.data
    if config.erase:
        erase_in_place(source, names)
    elif config.data is not None and not is_ready(config.data, names):
        copy_without(source, names, config.data)
    kept = feedback_left(run, names)
    events = sum(forget_events(path, name) for path in logs for name in names)
    dataset = Dataset.load(data, kept, pseudonyms)
    drop_profiles(run)  # before others' are made anew
    if retrained := key in run.user_ids or any(rows.values()):
        files, gone = retrain(run, dataset, recipe, key, say)
        run = Run.load(folder)
    else:
        files, gone = [], []
        leave_due(folder, folder, key)
    features, answers = drop_features(own), drop_answers()
    exports = exports_among(config.also)
    for export in exports:
        if (found := read_export(export)) is not None:
            export_run(run, export, found[0])
    needles = [Needle(name, frozenset({*Needle(name).columns, *id_columns(data)})) for name in names]
    places = [folder, data, *logs, *cached_files(), *config.also]
    searches = [find_id(needle, places) for needle in needles if pseudonyms is None or needle.id == key]
    searches += [find_id(Needle(user), [folder, *config.also])] if pseudonyms is not None and user != key else []
    original = source != data and source.is_dir() and any(count_rows(source, names).values())
    certificate = Certificate(
        run=str(folder),
        made=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        seconds=round(time.monotonic() - began, 3),
        data=str(data),
        rows=rows,
        feedback_events=events,
        cached_features=features,
        cached_answers=answers,
        retrained=bool(retrained),
        files=files,
        gone=gone,
        exports=[str(path) for path in exports],
        searched=max(number for _, number in searches),
        search="byte by byte" if needles[0].distinctive else "where ids of users stand",
        found=sorted({str(path) for paths, _ in searches for path in paths}),
        original=str(source) if original else None,
        fingerprint=fingerprint(dataset),
    )
    for path in certificate.save(folder.with_name(f"{folder.resolve().name}.forgotten")):
        say(f"certificate: {path}")
    return certificate


def check_encoders(run: Run, recipe: Recipe) -> None:
    """Raises UserError for an encoder of its own folder that learnt from the log that holds the user."""
    for modality in MODALITIES:
        encoder = recipe.encoders.encoder_of(modality)
        learnt = (facts_of(encoder) or {}).get("learnt_from")
        if learnt and learnt["data"] == run.provenance["dataset"]["fingerprint"]:
            raise UserError(
                f"encoders.{modality}: {encoder} has learnt from this user; fit it again on data without her, and say "
                f"--set encoders.{modality}=FOLDER"
            )


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


def feedback_left(run: Run, names: Sequence[str]) -> Feedback | None:
    """The events that the run was trained with, without the user's. Where a call that was stopped has taken these out
    already, there are fewer events than the run had."""
    trained = run.provenance["dataset"].get("feedback")
    if not trained:
        return None
    path = Path(trained["path"])
    others = [event["user"] not in names for event in read_events(path)]
    return Feedback(path=path, num_events=sum(others[: trained["num_events"]]))


def retrain(
    run: Run, dataset: Dataset, recipe: Recipe, key: str, say: Callable[[str], None]
) -> tuple[list[dict[str, str | None]], list[str]]:
    """Put a run on the given data in the place of the old one. Returns its files with sha256 before and after, and the
    names of those that were not made again."""
    if key in dataset.user_ids:
        raise UserError(f"{dataset.root}: still holds the user")
    if (origin := run.provenance.get("refit_of")) is not None:
        raise UserError(f"{run.folder}: is a refit; allowed: forget in {origin.split()[0]}, then refit that")
    folder = run.folder.resolve()
    work, old = (folder.with_name(f"{folder.name}.{what}") for what in ("forgetting", "replaced"))
    if (work / "run.json").exists() and (Run.load(work).provenance["dataset"]["fingerprint"] != fingerprint(dataset)):
        shutil.rmtree(work)  # of another call, which was stopped before it was done
    if not (work / "run.json").exists():
        finetuning.train(dataset, work, recipe, encrypt=is_encrypted(folder), say=say)
    files = [
        {"name": name, "before": hash_of(folder / name), "after": hash_of(work / name)}
        for name in (f"{stem}.safetensors" for stem in HASHED)
    ]
    gone = sorted({path.name for path in folder.iterdir()} - {path.name for path in work.iterdir()} - {DUE})
    leave_due(folder, work, key)
    folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old)
    return [one for one in files if one["before"] or one["after"]], gone


def leave_due(source: Path, target: Path, key: str) -> None:
    """Those who are still due, without the one who is forgotten now."""
    due = [asdict(entry) for entry in read_due(source) if not entry.matches(key)]
    if due:
        write_json(target / DUE, {"due": due})
    else:
        (target / DUE).unlink(missing_ok=True)


def hash_of(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def id_columns(folder: Path) -> list[str]:
    """The columns in which the dataset has ids of users."""
    from gnnrec.datasets.sources import read_raw

    raw = read_raw(folder)
    return [raw.log.user, *(raw.friends.columns[:2] if raw.friends else [])]
