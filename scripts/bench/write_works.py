"""What write_faults.py lets fail: each command with what was there before it, and how its state is told."""

import functools
import hashlib
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import polars as pl
from works import HER, Work, of_run, train_words, typed, well, write_data

from gnnrec.cipher import new_key_file, user_key
from gnnrec.commit import finish
from gnnrec.datasets import read_events
from gnnrec.errors import UserError
from gnnrec.export import import_embeddings
from gnnrec.run_folder import Run
from gnnrec.serve.feedback import FeedbackLog
from gnnrec.sharded_index import nearest_rows
from gnnrec.tracking import Tracker
from gnnrec.tuning import read_study
from gnnrec.vault import Envelope, encrypt_file, is_encrypted, keys_of

SAMPLED = ("model.name=lightgcn", "model.layers=2", "train.sampling=neighbours", "train.fanout=4")
SIGN = ("model.name=sign", "train.sampling=neighbours", "graph.neighbors=0", "graph.together=0", "graph.missing=drop")
EVENTS = 6


def trains(*settings: str, options: tuple[str, ...] = (), stopped: bool = False, key: str | None = None) -> Work:
    """stopped: there is a checkpoint already."""

    def command(place: Path) -> int:
        return typed(*train_words(place, "run", *settings), *options)

    def prepare(place: Path) -> None:
        write_data(place / "data")
        if stopped:
            usual = Tracker.__call__

            def stop(self: Tracker, history: list[dict[str, float]]) -> None:
                if len(history) == 2:
                    raise KeyboardInterrupt
                usual(self, history)

            Tracker.__call__ = stop  # type: ignore[method-assign]
            assert command(place) == 1 and (place / "run" / "checkpoint.safetensors").exists()

    return Work(prepare=prepare, command=command, state=lambda place: of_run(place / "run"), key=key)


def exports(format: str, *options: str, key: str | None = None, num_items: int = 24) -> Work:
    """Over an older export, of another run."""

    def prepare(place: Path) -> None:
        write_data(place / "data", num_items)
        well(*train_words(place, "run"))
        well(*train_words(place, "other", "train.seed=1"))
        well("export", place / "other", "--to", place / "out", "--format", format, "--json", *options)

    def command(place: Path) -> int:
        return typed("export", place / "run", "--to", place / "out", "--format", format, "--json", *options)

    def state(place: Path) -> str:
        found = import_embeddings(place / "out", format)
        assert found.user_ids == Run.load(place / "run").user_ids
        return hashlib.sha256(found.user.tobytes() + found.item.tobytes()).hexdigest()[:12]

    return Work(prepare=prepare, command=command, state=state, key=key)


def shards() -> Work:
    """Over an older index, of another run and in another number of files."""

    def export(place: Path, run: str, number: int) -> int:
        words = ("--to", place / "out", "--format", "faiss", "--shards", number, "--json")
        return typed("export", place / run, *words)

    def prepare(place: Path) -> None:
        write_data(place / "data")
        well(*train_words(place, "run"))
        well(*train_words(place, "other", "train.seed=1"))
        assert export(place, "other", 2) == 0

    def state(place: Path) -> str:
        run = Run.load(place / "run")
        ids, found = nearest_rows(place / "out", run.embeddings.user.numpy(), len(run.item_ids))
        assert tuple(ids) == run.item_ids
        return hashlib.sha256(found.rows.tobytes() + found.scores.tobytes()).hexdigest()[:12]

    return Work(prepare=prepare, command=lambda place: export(place, "run", 3), state=state)


def reports() -> Work:
    """Over an older report, of another run."""
    names = ("data", "another")

    def prepare(place: Path) -> None:
        for name, out in zip(names, ("run", "other")):
            write_data(place / name)
            well("train", place / name, "--out", place / out, "--json", "--recipe", "popularity")
        well("report", place / "other", "--out", place / "out" / "report.html")

    def command(place: Path) -> int:
        return typed("report", place / "run", "--out", place / "out" / "report.html")

    def state(place: Path) -> str:
        finish(place / "out")
        page, card = ((place / "out" / name).read_text() for name in ("report.html", "model_card.md"))
        shown = [name for name in names if f"made {name}" in page]
        assert len(shown) == 1 and f"made {shown[0]}" in card and page.rstrip().endswith("</html>")
        return shown[0]

    return Work(prepare=prepare, command=command, state=state)


def encodes() -> Work:
    """Pictures into the cache, in batches: what is in it is as it would be, and after a second call all are there."""
    size = 40

    def encode(place: Path, cache: str) -> int:
        from gnnrec.datasets import Dataset
        from gnnrec.encoders import encode_dataset
        from gnnrec.encoders.encode import EncodersConfig

        config = EncodersConfig(image="opencv", batch_size=8)
        encode_dataset(Dataset.load(place / "data"), config, cache_dir=place / cache)
        return 0

    def prepare(place: Path) -> None:
        from PIL import Image

        folder, random = place / "data", np.random.default_rng(0)
        (folder / "pics").mkdir(parents=True)
        names = [f"i{number}" for number in range(size)]
        for name in names:
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / "pics" / f"{name}.png")
        (folder / "log.csv").write_text("user,item\n" + "".join(f"u{n % 7},{name}\n" for n, name in enumerate(names)))
        (folder / "items.csv").write_text("item,cover\n" + "".join(f"{name},pics/{name}.png\n" for name in names))
        (folder / "dataset.toml").write_text(
            '[interactions]\npath = "log.csv"\n[items]\npath = "items.csv"\nimage = "cover"\n'
        )
        encode(place, "known")

    def rows(place: Path, cache: str) -> set[tuple[str, bytes]]:
        found = set[tuple[str, bytes]]()
        for path in (place / cache).rglob("*.sqlite"):
            with closing(sqlite3.connect(path)) as file:
                if file.execute("SELECT name FROM sqlite_master WHERE name = 'features'").fetchall():
                    found |= set(file.execute("SELECT content, value FROM features"))
        return found

    def state(place: Path) -> str:
        found, known = rows(place, "cache"), rows(place, "known")
        assert found <= known and len(known) == size and len(found) % 8 == 0, len(found)
        return "whole batches of right rows"

    def done(place: Path) -> None:
        assert rows(place, "cache") == rows(place, "known")

    def command(place: Path) -> int:
        return by_command(functools.partial(encode, place, "cache"))

    return Work(prepare=prepare, command=command, state=state, done=done)


def by_command(work: Callable[[], int]) -> int:
    """What the command line makes of an error, of a function that is no command."""
    try:
        return work()
    except UserError as error:
        print(f"gnnrec: {error}", file=sys.stderr)
        return 2


def feedback(key: str | None = None) -> Work:
    """Events as a service takes them in: what was acknowledged is in the log, and after a failure it goes on."""

    def prepare(place: Path) -> None:
        place.mkdir()
        if key is not None:
            encrypt_file(place / "told.jsonl")

    def command(place: Path) -> int:
        taken = []

        def tell() -> int:
            log = FeedbackLog(place / "told.jsonl")
            for number in range(EVENTS):
                try:
                    log.append([{"user": "u", "item": str(number), "timestamp": number}])
                except OSError:
                    continue  # answered by 503
                taken.append(number)
            log.close()
            return 0

        status = by_command(tell)
        place.with_name("taken").write_text(" ".join(map(str, taken)))
        return status

    def state(place: Path) -> str:
        acknowledged = place.with_name("taken")
        told = set(acknowledged.read_text().split()) if acknowledged.exists() else set[str]()
        events = read_events(place / "told.jsonl") if (place / "told.jsonl").exists() else []
        kept = {event["item"] for event in events}
        assert told <= kept <= {str(number) for number in range(EVENTS)}, (told, kept)
        return "what was acknowledged"

    def done(place: Path) -> None:
        told = place.with_name("taken").read_text().split()
        assert told == [str(number) for number in range(EVENTS)]

    return Work(prepare=prepare, command=command, state=state, done=done, key=key)


def forgets() -> Work:
    def prepare(place: Path) -> None:
        write_data(place / "data")
        well(*train_words(place, "run"))
        well("export", place / "run", "--to", place / "out", "--format", "npy", "--json")
        event = '{"user": "%s", "item": "i1", "timestamp": 5}\n'
        (place / "run.feedback.jsonl").write_text(event % HER + event % "somebody")

    def command(place: Path) -> int:
        words = ("--data", place / "without", "--also", place / "out")
        return typed("forget", place / "run", "--user", HER, *words, "--json")

    def state(place: Path) -> str:
        found = of_run(place / "run")
        assert found != "unfinished"
        return found

    def done(place: Path) -> None:
        names = {path.name for path in place.iterdir() if not path.name.startswith(".tmp")}
        assert names == {"cache", "data", "without", "run", "out", "run.feedback.jsonl", "run.forgotten"}, names
        assert HER not in Run.load(place / "run").user_ids + import_embeddings(place / "out", "npy").user_ids
        assert not (place / "run" / "due.json").exists()
        assert [event["user"] for event in read_events(place / "run.feedback.jsonl")] == ["somebody"]
        assert any((place / "run.forgotten").glob("*.json"))

    return Work(prepare=prepare, command=command, state=state, done=done)


def rekeys(*options: str) -> Work:
    """To a key beside the old one, which the environment names."""

    def prepare(place: Path) -> None:
        write_data(place / "data")
        well(*train_words(place, "run"), "--encrypt")
        new_key_file(place.with_name("new.key"))

    def command(place: Path) -> int:
        return typed("rekey", place / "run", "--new-key", place.with_name("new.key"), "--json", *options)

    def state(place: Path) -> str:
        keys = {name: user_key(place.with_name(name)) for name in ("old.key", "new.key")}
        needed = Envelope.load(keys_of(place / "run"), *keys.values()).user
        name = next(name for name, key in keys.items() if key == needed)
        os.environ["GNNREC_KEY_FILE"] = str(place.with_name(name))
        assert of_run(place / "run") != "unfinished"
        os.environ["GNNREC_KEY_FILE"] = str(place.with_name("old.key"))  # by which the command is typed again
        return name

    return Work(prepare=prepare, command=command, state=state, key="old.key")


def updates(key: str | None = None) -> Work:
    def prepare(place: Path) -> None:
        write_data(place / "data")
        well(*train_words(place, "run"), *(["--encrypt"] if key else []))
        log = pl.read_csv(place / "data" / "log.csv")
        users, items = log["user"].unique().sort(), log["item"].unique().sort()
        rows = {"user": [*users[:8], "n1", "n1", "n1"], "item": items[:11], "time": range(90_000, 90_011)}
        (place / "parts").mkdir()
        pl.DataFrame(rows).write_parquet(place / "parts" / "interactions-2.parquet")

    def command(place: Path) -> int:
        words = ("--with", place / "parts", "--out", place / "next", "--json")
        return typed("update", place / "run", *words, "--set", "train.epochs=2")

    def done(place: Path) -> None:
        assert (place / "next" / "update.json").exists() and is_encrypted(place / "next") == bool(key)

    return Work(prepare=prepare, command=command, state=lambda place: of_run(place / "next"), done=done, key=key)


def refits() -> Work:
    def prepare(place: Path) -> None:
        write_data(place / "data")
        well(*train_words(place, "run"))

    def done(place: Path) -> None:
        assert Run.load(place / "next").provenance["refit_of"]

    def command(place: Path) -> int:
        return typed("refit", place / "run", "--out", place / "next", "--json")

    return Work(prepare=prepare, command=command, state=lambda place: of_run(place / "next"), done=done)


def tunes() -> Work:
    """A study whose trials are those of one that nobody disturbed, and in the end all of them."""

    def tune(place: Path, out: str) -> int:
        words = ("--search", "model.l2=1,10,100", "--trials", 3, "--set", "model.name=ease", "--json")
        return typed("tune-settings", place / "data", "--out", place / out, *words)

    def prepare(place: Path) -> None:
        write_data(place / "data")
        assert tune(place, "known") == 0

    def trials(study: Path) -> list[tuple[object, ...]]:
        try:
            return [(trial.settings, trial.state, trial.values) for trial in read_study(study).trials]
        except UserError as error:
            assert "holds no study" in str(error), error
            return []

    def state(place: Path) -> str:
        found, known = trials(place / "study"), trials(place / "known")
        assert found == known[: len(found)] and len(known) == 3
        return "trials of the undisturbed study"

    def done(place: Path) -> None:
        assert trials(place / "study") == trials(place / "known")
        assert (place / "study" / "best.toml").read_bytes() == (place / "known" / "best.toml").read_bytes()

    return Work(prepare=prepare, command=lambda place: tune(place, "study"), state=state, done=done)


WORKS: dict[str, Callable[[], Work]] = {
    "train": trains,
    "train, sampled": lambda: trains(*SAMPLED),
    "train, sign": lambda: trains(*SIGN),
    "train, encrypted": lambda: trains(options=("--encrypt",), key="old.key"),
    "train, resumed": lambda: trains(stopped=True),
    "train, sampled, resumed": lambda: trains(*SAMPLED, stopped=True),
    "train, encrypted, resumed": lambda: trains(options=("--encrypt",), stopped=True, key="old.key"),
    **{f"export {name}": functools.partial(exports, name) for name in ("parquet", "npy", "safetensors", "faiss")},
    "export, encrypted": lambda: exports("npy", "--encrypt", key="old.key"),
    "export faiss-pq": lambda: exports("faiss-pq", num_items=300),
    "export --shards": shards,
    "report": reports,
    "encode": encodes,
    "feedback": feedback,
    "feedback, encrypted": lambda: feedback("old.key"),
    "forget": forgets,
    "rekey": rekeys,
    "rekey --deep": lambda: rekeys("--deep"),
    "update": updates,
    "update, encrypted": lambda: updates("old.key"),
    "refit": refits,
    "tune-settings": tunes,
}
