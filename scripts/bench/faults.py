"""Kill what writes, at random moments by SIGKILL, and look at what is there: the old state or the new one.

python scripts/bench/faults.py [--kills 60] [--seed 0]     of each kind; writes results/faults.json

Every work is done in a forked child, which is killed; another child looks. A training is killed again and again until
it ends by itself, and its weights have to be those of a training that nobody disturbed (sha256). Other commands
(write_works.py) begin anew for each kill, and the same command again has to end with the new state.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rows import row, save
from write_works import WORKS

import gnnrec.privacy.forget
import gnnrec.refit
import gnnrec.rekey
import gnnrec.update  # noqa: F401 (what the commands need is loaded once, before they are forked)
from gnnrec.cipher import new_key_file
from gnnrec.commit import finish
from gnnrec.datasets import Dataset, planted, read_events
from gnnrec.encoders.cache import FeatureCache
from gnnrec.errors import UserError
from gnnrec.export import export_embeddings, import_embeddings
from gnnrec.finetuning import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.serve.feedback import FeedbackLog
from gnnrec.vault import sha256_of

SETTINGS = ("train.epochs=25", "train.patience=25", "train.batch_size=32")
TRAINED = {  # settings of a training, by what is special about its state
    "": (),
    " sasrec": ("model.name=sasrec",),
    " tower": ("model.name=tower",),
    " sgl": ("model.name=sgl",),  # draws another graph each epoch
    " xsimgcl": ("model.name=xsimgcl",),  # draws noise each step
    " vbpr": ("model.name=vbpr",),
    " mf": ("model.name=mf", "train.loss=bpr", "train.negatives=2"),  # negatives are drawn
    " sign": ("model.name=sign", "train.sampling=neighbours", "graph.neighbors=0", "graph.together=0"),
    " lightgcn, sampled": ("model.name=lightgcn", "train.sampling=neighbours", "train.fanout=4"),  # lazy Adam
    " lightgcn, temporal": ("model.name=lightgcn", "train.sampling=temporal", "graph.together=0"),
    " encrypted": ("--encrypt",),
}
Kind = Callable[[Path, int, random.Random], tuple[int, int]]
COMMANDS = ("forget", "update", "rekey", "rekey --deep", "refit", "tune-settings", "export --shards")
FORMATS = ("parquet", "npy", "safetensors", "faiss")
KEPT = ("weights.safetensors", "embeddings.safetensors", "graph.safetensors")
IDS = [str(number) for number in range(4_000)]


def child(work: Callable[[], object]) -> int:
    """Do it in a process of its own; returns its id. Its exit status is 0 where nothing was raised."""
    if pid := os.fork():
        return pid
    status = 1
    try:
        with Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), 1)
            if not os.environ.get("FAULTS_DEBUG"):
                os.dup2(nothing.fileno(), 2)
        work()
        status = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        os._exit(status)


def ends_well(work: Callable[[], object]) -> bool:
    return os.waitpid(child(work), 0)[1] == 0


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Whether it was killed before it ended."""
    pid = child(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def duration(work: Callable[[], object]) -> float:
    began = time.monotonic()
    assert ends_well(work)
    return time.monotonic() - began


def training(place: Path, kills: int, chance: random.Random, settings: tuple[str, ...] = ()) -> tuple[int, int]:
    """settings: over SETTINGS; "--encrypt" for an encrypted run."""
    place = Path(tempfile.mkdtemp(dir=place))
    made_data(place, "log", timed=True)
    recipe = load_recipe(overrides=(*SETTINGS, *(word for word in settings if word != "--encrypt")))
    if encrypt := "--encrypt" in settings:
        new_key_file(place / "key")
        os.environ["GNNREC_KEY_FILE"] = str(place / "key")

    def to(folder: Path) -> Callable[[], object]:
        return lambda: train(Dataset.load(place / "data-log"), folder, recipe, encrypt=encrypt)

    def loads_or_says_why() -> None:
        try:
            Run.load(place / "killed").model  # noqa: B018
        except UserError as error:
            assert "unfinished run" in str(error) or "no run" in str(error) or "no such folder" in str(error)

    def hashes(name: str) -> list[str]:
        return [sha256_of(place / name / kept) for kept in KEPT]

    seconds = duration(to(place / "whole"))
    whole = hashes("whole")
    count = wrong = 0
    while count < kills:
        shutil.rmtree(place / "killed", ignore_errors=True)
        while killed(to(place / "killed"), chance.uniform(0, seconds)):
            count += 1
            wrong += not ends_well(loads_or_says_why)
        if not (place / "killed" / "run.json").exists():
            wrong += not ends_well(to(place / "killed"))
        wrong += hashes("killed") != whole
    return count, wrong


def exporting(place: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    def vectors(sign: float) -> np.ndarray:
        return np.full((len(IDS), 16), sign, dtype=np.float32)

    def export(sign: float) -> Callable[[], object]:
        return lambda: export_embeddings(vectors(sign), vectors(sign), IDS, IDS, place / "to", FORMATS)

    def is_one() -> None:
        found = [import_embeddings(place / "to", name) for name in FORMATS]
        signs = {float(array.flat[place]) for each in found for array in each[:2] for place in (0, -1)}
        assert len(signs) == 1 and signs <= {1.0, -1.0}, signs

    seconds = max(duration(export(1.0)), duration(export(1.0)))
    count = wrong = 0
    while count < kills:
        was = killed(export(chance.choice((1.0, -1.0))), chance.uniform(0, seconds))
        count += was
        wrong += not ends_well(is_one)
    return count, wrong


def encoding(place: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """Batches into the cache of features: a batch is there whole or not at all."""
    batch, batches = 50, 40

    def fill() -> None:
        with FeatureCache(place / "cache", "encoder", 64) as cache:
            for number in range(batches):
                cache.store({f"{number}-{row}": np.full(64, number, dtype=np.float32) for row in range(batch)})

    def whole_batches() -> None:
        with FeatureCache(place / "cache", "encoder", 64) as cache:
            found: dict[str, int] = {}
            for key, value in cache.fetch(f"{number}-{row}" for number in range(batches) for row in range(batch)):
                assert (value == int(key.partition("-")[0])).all()
                found[key.partition("-")[0]] = found.get(key.partition("-")[0], 0) + 1
        assert set(found.values()) <= {batch}

    seconds = duration(fill)
    count = wrong = 0
    while count < kills:
        shutil.rmtree(place / "cache", ignore_errors=True)
        count += killed(fill, chance.uniform(0, seconds))
        wrong += not ends_well(whole_batches)
    return count, wrong


def reporting(place: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """By the command, since what draws plots does not stand being forked. Old and new differ by the run's own name."""
    out, names = place / "out" / "report.html", ("first", "second")
    for name in names:
        made_data(place, name)
        data = place / f"data-{name}"
        assert ends_well(partial(train, Dataset.load(data), place / name, load_recipe("popularity")))

    def report(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", "report", str(place / name), "--out", str(out)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.monotonic()
    assert report(names[0]).wait() == 0
    seconds = time.monotonic() - began
    count = wrong = 0
    for number in range(kills):
        process = report(names[(number + 1) % 2])
        time.sleep(chance.uniform(seconds / 3, seconds))
        process.kill()
        count += process.wait() == -signal.SIGKILL
        finish(out.parent)
        card, page = ((out.parent / name).read_text(encoding="utf-8") for name in ("model_card.md", "report.html"))
        shown = [name for name in names if f"made {name}" in page]
        wrong += len(shown) != 1 or f"made {shown[0]}" not in card or not page.rstrip().endswith("</html>")
    return count, wrong


def made_data(place: Path, name: str, *, timed: bool = False) -> None:
    """A dataset folder named "made NAME"; read by children alone, since what polars began does not stand being forked.

    timed: with times, titles and features, for models that want these.
    """
    folder, made = place / f"data-{name}", planted("text", num_users=60, num_items=50)
    folder.mkdir()
    log = made.interactions
    lines = [f"u{user},i{item},{time}\n" for time, (user, item) in enumerate(zip(log.user, log.item))]
    (folder / "log.csv").write_text("user,item,time\n" + "".join(lines))
    toml = f'name = "made {name}"\n[interactions]\npath = "log.csv"\n'
    if timed:
        (folder / "items.csv").write_text("item,title\n" + "".join(f"i{item},Title {item}\n" for item in range(50)))
        np.save(folder / "text.npy", made.item_features["text"])
        toml += 'timestamp = "time"\n[items]\npath = "items.csv"\n[features.text]\npath = "text.npy"\n'
    (folder / "dataset.toml").write_text(toml)


def telling(place: Path, kills: int, chance: random.Random) -> tuple[int, int]:
    """What was acknowledged through a pipe is in the log."""
    path = place / "told.jsonl"
    count = wrong = 0
    acknowledged = 0
    while count < kills:
        reader, writer = os.pipe()

        def tell(first: int = acknowledged, writer: int = writer) -> None:
            log = FeedbackLog(path)
            for number in range(first, first + 100_000):
                log.append([{"user": "u", "item": str(number), "timestamp": 1}])
                os.write(writer, number.to_bytes(8, "big"))

        count += killed(tell, chance.uniform(0.01, 0.2))
        os.close(writer)
        told = b""
        while part := os.read(reader, 1 << 16):
            told += part
        os.close(reader)
        items = {event["item"] for event in read_events(path)}
        wrong += any(str(int.from_bytes(told[at : at + 8], "big")) not in items for at in range(0, len(told), 8))
        acknowledged += len(told) // 8 + 1
    return count, wrong


def command(place: Path, kills: int, chance: random.Random, name: str) -> tuple[int, int]:
    place, work = Path(tempfile.mkdtemp(dir=place)), WORKS[name]()
    now, kept, told = place / "now", place / "kept", place / "state"
    os.environ["GNNREC_CACHE"] = str(now / "cache")
    os.environ.pop("GNNREC_KEY_FILE", None)
    if work.key is not None:
        new_key_file(place / work.key)
        os.environ["GNNREC_KEY_FILE"] = str(place / work.key)
    assert ends_well(lambda: work.prepare(now))
    (now / "cache").mkdir(exist_ok=True)
    now.rename(kept)

    def afresh() -> None:
        shutil.rmtree(now, ignore_errors=True)
        shutil.copytree(kept, now)

    def state() -> str:
        return told.read_text() if ends_well(lambda: told.write_text(work.state(now))) else "unsound"

    def run() -> None:
        assert work.command(now) == 0

    def complete() -> bool:
        return state() == new and ends_well(lambda: work.done(now))

    afresh()
    old, seconds, new = state(), duration(run), state()
    assert "unsound" not in (old, new) and complete()
    count = wrong = 0
    while count < kills:
        afresh()
        if not killed(run, chance.uniform(0, seconds)):
            continue
        count += 1
        sound, nothing_left = state() in (old, new), complete()
        goes_on = ends_well(run) or nothing_left  # then it may say so
        wrong += not (sound and goes_on and complete())
    return count, wrong


KINDS: dict[str, Kind] = {  # report needs the run that training leaves
    **{f"train{name}, resumed to the same sha256": partial(training, settings=them) for name, them in TRAINED.items()},
    "export in four formats over an older one": exporting,
    "encode": encoding,
    "report": reporting,
    "feedback": telling,
    **{name: partial(command, name=name) for name in COMMANDS},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=60, help="of each kind")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        for kind in options.only:
            began = time.monotonic()
            count, wrong = KINDS[kind](Path(name), options.kills, random.Random(options.seed))
            print(f"{kind}: {count} kills, {wrong} wrong states", flush=True)
            counts = {"kills": float(count), "wrong": float(wrong)}
            save("faults", [row("made data", kind, [options.seed], [counts], time.monotonic() - began)])


if __name__ == "__main__":
    main()
