"""A dataset of people: ages, cities, avatars, friends; the one who will be forgotten has an id that nobody writes by
chance, unusual bytes around her rows, and an item that she alone took."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

HER = "wanda-7f3q"
SETTINGS = ["train.epochs=2", "model.dim=8", "train.batch_size=64", "encoders.image=none", "encoders.text=none"]
DESCRIBED = """
name = "people"
[interactions]
path = "log.csv.gz"
timestamp = "time"
[users]
path = "users.csv"
text = ["city"]
image = "avatar"
friends = "friends.tsv"
"""


def write_people(folder: Path, without: str | None = None) -> Path:
    """40 users who took 8 of 20 items each. without: the rows of this one are never written."""
    random = np.random.default_rng(5)
    users = [HER, *(f"u{number}" for number in range(1, 40))]
    taken = {user: random.choice(20, size=8, replace=False) for user in users}
    rows = [
        (user, f"i{item}", str(1_000_000 + 86_400 * step)) for user in users for step, item in enumerate(taken[user])
    ]
    rows.insert(3, (HER, "only-hers", "1000000"))
    folder.mkdir(parents=True)
    log = ["user,item,time", *(",".join(row) for row in rows if row[0] != without)]
    (folder / "log.csv.gz").write_bytes(gzip.compress("\r\n".join(log).encode()))
    cities = [("Rome", "Oslo")[number % 2] for number in range(40)]
    lines = [
        f'{user},{20 + number % 4},"{city}",pics/{number}.png' for number, (user, city) in enumerate(zip(users, cities))
    ]
    kept = [line for line in lines if not line.startswith(f"{without},")]
    (folder / "users.csv").write_text("\n".join(["user,age,city,avatar", *kept]) + "\n")
    pairs = [("u1", HER), (HER, "u2"), ("u3", "u4")]
    kept = [f"{left}\t{right}" for left, right in pairs if without not in (left, right)]
    (folder / "friends.tsv").write_text("\n".join(["one\tother", *kept]) + "\n")
    (folder / "pics").mkdir()
    for number, user in enumerate(users):
        if user != without:
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / "pics" / f"{number}.png")
    (folder / "dataset.toml").write_text(DESCRIBED)
    return folder


def trained(data: Path, out: Path, pseudonyms: Pseudonyms | None = None) -> Run:
    return train(Dataset.load(data, pseudonyms=pseudonyms), out, load_recipe(overrides=SETTINGS))


def holding(text: str, *places: Path) -> list[Path]:
    """Files that hold the text in their bytes or their unzipped bytes, or in their names: a search of its own."""
    found = []
    for place in places:
        for path in place.rglob("*") if place.is_dir() else [place]:
            content = path.read_bytes() if path.is_file() else b""
            content += gzip.decompress(content) if content[:2] == b"\x1f\x8b" else b""
            if text.encode() in content or text in path.name:
                found.append(path)
    return found


def stop_at(patch: pytest.MonkeyPatch, where: Any, name: str, number: int = 1) -> None:
    """The call of `where.name` of this number ends as by Ctrl-C."""
    whole, calls = getattr(where, name), list[str]()

    def stopping(*given: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == number:
            raise KeyboardInterrupt
        return whole(*given, **named)

    patch.setattr(where, name, stopping)
