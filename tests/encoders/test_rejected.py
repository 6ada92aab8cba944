"""Every kind of broken picture and sound stands in the table of what was set aside, with the line that names it."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.encoders import EncodersConfig, check_media, encode_dataset, unusable_content

TOML = """
[interactions]
path = "log.csv"
[items]
path = "items.csv"
text = ["title"]
image = "cover"
audio = "clip"
[users]
path = "users.csv"
image = "face"
"""


def picture(side: int, kind: str = "PNG") -> bytes:
    packed = io.BytesIO()
    colours = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(colours).save(packed, kind)
    return packed.getvalue()


def sound(seconds: float) -> bytes:
    packed = io.BytesIO()
    tone = 10_000 * np.sin(np.arange(int(16_000 * seconds)) / 16_000 * 2 * np.pi * 440)
    with wave.open(packed, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(tone.astype("<i2").tobytes())
    return packed.getvalue()


def large_picture() -> bytes:
    packed = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(packed, "PNG")
    return packed.getvalue()


PICTURES = {
    "good.jpg": (picture(64, "JPEG"), None),
    "cut.jpg": (picture(64, "JPEG")[:1500], "not a readable picture: image file is truncated"),
    "large.png": (large_picture(), "10000 x 10000 pixels, at most 50 million are read"),
    "text.png": (b"this is no picture", "not a readable picture: cannot identify image file"),
    "empty.png": (b"", "not a readable picture: cannot identify image file"),
}
SOUNDS = {
    "good.wav": (sound(1), None),
    "empty.wav": (b"", "not a readable sound: Error opening: Format not recognised."),
    "none.wav": (sound(0), "0.00 s of sound, at least 0.1 s are needed"),
    "lying.wav": (sound(4)[: 44 + 2 * 16_000], "ends after 1.0 s, its header claims 4.0 s"),
    "text.ogg": (b"this is no sound", "not a readable sound: Error opening: Format not recognised."),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Each item names one file; the titles have two lines, so that lines are not rows."""
    root = tmp_path / "set"
    root.mkdir()
    (tmp_path / "outside.png").write_bytes(PICTURES["good.jpg"][0])
    items = ["item,title,cover,clip"]
    for name, (content, _) in (PICTURES | SOUNDS).items():
        (root / name).write_bytes(content)
        cell = f"{name}," if name in PICTURES else f",{name}"
        items.append(f'"{name}","Two\nlines",{cell}')
    items += ["out,Out,../outside.png,", "gone,Gone,,gone.wav"]
    (root / "items.csv").write_text("\n".join(items) + "\n")
    (root / "users.csv").write_text("user,face\na,good.jpg\nb,text.png\n")
    (root / "log.csv").write_text("user,item\na,good.jpg\nb,good.wav\n")
    (root / "dataset.toml").write_text(TOML)
    return root


def expected() -> list[tuple[str, int, str, str]]:
    rows = enumerate((PICTURES | SOUNDS).items())
    bad = [("items.csv", 2 + 2 * row, reason, name) for row, (name, (_, reason)) in rows if reason]
    return [*bad, ("users.csv", 3, PICTURES["text.png"][1] or "", "text.png")]


def test_what_cannot_be_decoded_is_found_with_its_line(folder: Path) -> None:
    dataset = Dataset.load(folder)
    assert check_media(dataset).rows() == expected()
    assert dataset.rejected.rows() == [
        ("items.csv", 22, "path leaves the folder of the dataset", "../outside.png"),
        ("items.csv", 23, "no such file", "gone.wav"),
    ]


def test_encoding_finds_the_same(folder: Path, tmp_path: Path) -> None:
    dataset, config = Dataset.load(folder), EncodersConfig(text="none")
    for _ in range(2):  # the second time from the cache
        items, users = encode_dataset(dataset, config, cache_dir=tmp_path / "cache", device="cpu")
        assert unusable_content(dataset, items, users).rows() == dataset.rejected.rows() + expected()
    assert [dataset.item_ids[row] for row in np.flatnonzero(items["image"].mask)] == ["good.jpg"]
    assert [dataset.item_ids[row] for row in np.flatnonzero(items["audio"].mask)] == ["good.wav"]


def test_a_file_that_many_rows_name_is_listed_for_each(folder: Path) -> None:
    with (folder / "users.csv").open("a") as file:
        file.write("c,text.png\n")
    assert [line for file, line, *_ in check_media(Dataset.load(folder)).rows() if file == "users.csv"] == [3, 4]


def test_a_set_without_media_has_nothing_to_list(folder: Path) -> None:
    (folder / "dataset.toml").write_text('[interactions]\npath = "log.csv"\n')
    assert len(check_media(Dataset.load(folder))) == 0
