"""A folder with nothing wrong in it, and the same one with known faults of every kind."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
from PIL import Image

from gnnrec.cleaning import CleanConfig, clean
from gnnrec.cleaning.finding import Finding

TOML = """
name = "shelf"
licence = "ours"
[interactions]
path = "log.csv"
user = "who"
item = "what"
timestamp = "time"
rating = "stars"
min_rating = 2
split = "part"
[split]
min_core = 2
seed = 5
[items]
path = "things.csv"
id = "what"
text = ["title", "plot"]
image = "cover"
audio = "clip"
[users]
path = "people.csv"
id = "who"
text = ["bio"]
friends = "friends.csv"
[features.text]
path = "text.npy"
[features.user.taste]
path = "taste.npy"
"""
ITEMS, USERS, EACH = 40, 120, 20
PLOTS = (
    "A young lawyer from the city returns to her village and finds the old mill burnt down by strangers",
    "Two brothers build a boat in their garden and sail it around the world without telling their mother",
    "When the winter is longer than usual, the people of a small harbour learn to trust each other again",
    "The teacher who has never left the island is asked to guide an expedition across the frozen mountains",
    "An orchestra loses its conductor on the evening of the concert and has to play without any of the notes",
)
PLACES = ("Bakery", "Lighthouse", "Orchard", "Factory", "Chapel", "Quarry", "Stable", "Tavern")


class Drawn(NamedTuple):
    noise: Callable[[Path, int], None]
    tone: Callable[[Path, float], None]


def write(folder: Path, name: str, rows: list[tuple[object, ...]]) -> None:
    (folder / name).write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n", encoding="utf-8")


def noise(path: Path, seed: int) -> None:
    small = np.random.default_rng(seed).integers(0, 255, (9, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((120, 180)).save(path)


def tone(path: Path, pitch: float, seconds: float = 0.5) -> None:
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(8000 * seconds)) / 8000), 8000)


def plot(item: int) -> str:
    """Unlike every other, in plain English."""
    return f"{PLOTS[item % 5]}. The {PLACES[item // 5]} is where all of it begins: {PLOTS[item // 8]}".replace(",", "")


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, random = tmp_path_factory.mktemp("data") / "shelf", np.random.default_rng(3)
    (folder / "covers").mkdir(parents=True)
    (folder / "clips").mkdir()
    (folder / "dataset.toml").write_text(TOML)
    (folder / "LICENCE.md").write_text("ours\n")
    rows: list[tuple[object, ...]] = [("who", "what", "stars", "time", "part", "device")]
    for user in range(USERS):
        moments = np.sort(random.integers(1_500_000_000, 1_600_000_000, EACH))
        for step, item in enumerate(random.permutation(ITEMS)[:EACH]):
            part = ("val", "test")[step - EACH] if step >= EACH - 2 else "train"
            rows.append((f"u{user}", f"i{item}", 1 + random.integers(5), moments[step], part, "phone"))
    write(folder, "log.csv", rows)
    things: list[tuple[object, ...]] = [("what", "title", "plot", "cover", "clip", "shelf")]
    for item in range(ITEMS):
        noise(folder / "covers" / f"{item}.png", item)
        tone(folder / "clips" / f"{item}.wav", 200 + 20 * item)
        things.append((f"i{item}", f"Thing {item}", plot(item), f"covers/{item}.png", f"clips/{item}.wav", item))
    write(folder, "things.csv", things)
    write(folder, "people.csv", [("who", "bio"), *((f"u{user}", f"reader {user}") for user in range(USERS))])
    write(folder, "friends.csv", [("a", "b"), ("u0", "u1"), ("u1", "u2"), ("u5", "u9")])
    np.save(folder / "text.npy", random.normal(size=(ITEMS, 3)).astype(np.float32))
    taste = random.normal(size=(USERS, 2))
    taste[7] = np.nan
    np.save(folder / "taste.npy", taste)
    return folder


class Shelf:
    """A folder to spoil. The fields of its files hold no commas; row 0 is the first below the header."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, file: str) -> list[str]:
        return (self.folder / file).read_text(encoding="utf-8").splitlines()

    def change(self, file: str, row: int, column: int, value: str) -> int:
        """Set one field; returns its line."""
        lines = self.lines(file)
        fields = lines[row + 1].split(",")
        fields[column] = value
        lines[row + 1] = ",".join(fields)
        (self.folder / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return row + 2

    def append(self, file: str, *rows: tuple[object, ...]) -> int:
        """Add rows; returns the line of the first of them."""
        lines = self.lines(file)
        more = [",".join(map(str, row)) for row in rows]
        (self.folder / file).write_text("\n".join(lines + more) + "\n", encoding="utf-8")
        return len(lines) + 1

    def find(self, **settings: Any) -> list[Finding]:
        return clean(self.folder, CleanConfig(**settings)).findings

    def copy(self, kinds: str | None = None, **settings: Any) -> Path:
        """Clean it into a folder beside it."""
        to = self.folder.parent / "copy"
        clean(self.folder, CleanConfig(**settings), to, kinds)
        return to


@pytest.fixture
def shelf(clean_folder: Path, tmp_path: Path) -> Shelf:
    return Shelf(Path(shutil.copytree(clean_folder, tmp_path / "shelf")))


@pytest.fixture
def draw() -> Drawn:
    """Makers of a picture (path, seed) and of a sound (path, pitch)."""
    return Drawn(noise, tone)
