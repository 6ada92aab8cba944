"""What works of commands are made of: small data, a training, and what is told of a run (write_works.py, faults.py)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from gnnrec.cli import main as gnnrec
from gnnrec.datasets import planted
from gnnrec.errors import UserError
from gnnrec.run_folder import Run
from gnnrec.vault import read_bytes

SETTINGS = ("train.epochs=2", "train.validate_every=1", "train.batch_size=64", "model.dim=8")
TENSORS = ("weights", "embeddings", "lists", "graph")
HER = "zzz-reader"


@dataclass(frozen=True, kw_only=True)
class Work:
    """prepare: makes what is there before. command: what is typed; its exit status. state: what is there, as a short
    text; raises for what may never be. done: raises for what is not finished, though the command says so. All are given
    the folder of it all."""

    prepare: Callable[[Path], object]
    command: Callable[[Path], int]
    state: Callable[[Path], str]
    done: Callable[[Path], object] = lambda place: None
    key: str | None = None  # the file in the folder above that GNNREC_KEY_FILE names


def typed(*words: object) -> int:
    return gnnrec([str(word) for word in words])


def well(*words: object) -> None:
    assert typed(*words) == 0, words


def write_data(folder: Path, num_items: int = 24) -> Path:
    """A dataset named after its folder: 30 users, one of them HER, and items with titles and features."""
    made = planted("text", num_users=30, num_items=num_items)
    folder.mkdir(parents=True)
    log, users = made.interactions, [HER, *made.user_ids[1:]]
    rows = {"user": [users[user] for user in log.user], "item": [made.item_ids[item] for item in log.item]}
    pl.DataFrame(rows | {"time": np.arange(len(log)) + 1_000}).write_csv(folder / "log.csv")
    titles = [f"Title of {item}" for item in made.item_ids]
    pl.DataFrame({"item": made.item_ids, "title": titles}).write_csv(folder / "items.csv")
    np.save(folder / "text.npy", made.item_features["text"])
    (folder / "dataset.toml").write_text(
        f'name = "made {folder.name}"\n[interactions]\npath = "log.csv"\ntimestamp = "time"\n'
        '[items]\npath = "items.csv"\ntext = "title"\n[features.text]\npath = "text.npy"\n'
    )
    return folder


def train_words(place: Path, out: str, *settings: str, data: str = "data") -> list[object]:
    return ["train", place / data, "--out", place / out, "--json", "--set", *SETTINGS, *settings]


def hashed(folder: Path) -> str:
    """Of what the files of tensors say, encrypted or not."""
    digest = hashlib.sha256()
    for path in (folder / f"{name}.safetensors" for name in TENSORS):
        digest.update(read_bytes(path) if path.exists() else b"-")
    return digest.hexdigest()[:12]


def of_run(folder: Path) -> str:
    """unfinished, or the hash of a run that loads."""
    try:
        run = Run.load(folder)
    except UserError as error:
        assert any(words in str(error) for words in ("an unfinished run", "no run", "no such folder")), error
        return "unfinished"
    run.model, run.metrics, run.known, run.item_vectors, run.recipe  # noqa: B018
    return hashed(folder)
