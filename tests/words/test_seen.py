"""`gnnrec describe` with a model that is shown the pictures: in a folder, and behind a server that others wrote."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import said, serving
from PIL import Image
from planted_vision import BLUE, RED, save_planted_vision
from real_server import transformers_server

TOML = """
name = "walls"
[interactions]
path = "log.csv"
[items]
path = "items.csv"
text = ["title"]
image = "cover"
"""
COLOURS = {"i0": "#d02010", "i1": "#1020d0", "i2": "#e01030"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted_vision(tmp_path_factory.mktemp("vision"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three walls, photographed by somebody whose camera notes who and where."""
    folder = tmp_path / "jane-doe"
    folder.mkdir()
    (folder / "dataset.toml").write_text(TOML)
    (folder / "log.csv").write_text("user,item\n" + "\n".join(f"jane@example.org,{item}" for item in COLOURS) + "\n")
    lines = [f"{item},Wall of Jane,jane-doe-{item}.jpg" for item in COLOURS]
    (folder / "items.csv").write_text("\n".join(["item,title,cover", *lines]) + "\n")
    for item, colour in COLOURS.items():
        exif = Image.Exif()
        exif[0x010E], exif[0x013B] = "home of jane", "jane doe"  # what it shows, and who took it
        exif.get_ifd(0x8825)[1] = "N"  # where
        how: dict[str, Any] = {"exif": exif, "comment": b"jane", "icc_profile": b"jane's screen"}
        Image.new("RGB", (700, 600), colour).save(folder / f"jane-doe-{item}.jpg", **how)
    return folder


def described(one_document: Any, data: Path, *settings: str) -> dict[str, str]:
    found = one_document("describe", data, "--set", "encoders.image=none", *settings)
    assert found["failures"] == []
    return {row["id"]: row["text"] for row in found["descriptions"]}


WALLS = {"i0": RED, "i1": BLUE, "i2": RED}


def test_a_model_in_a_folder_says_what_it_sees(one_document: Any, data: Path, model: Path) -> None:
    assert described(one_document, data, f"describe.model={model}") == WALLS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_server(tmp_path_factory.mktemp("hub")) as address:
        yield address


def test_a_real_server_is_shown_the_pictures(one_document: Any, data: Path, model: Path, server: str) -> None:
    how = ("describe.provider=openai", f"describe.model={model}", f"describe.base_url={server}")
    assert described(one_document, data, *how) == WALLS


def test_pictures_leave_without_what_their_files_say(one_document: Any, data: Path) -> None:
    with serving(lambda _: said('{"text": "A wall."}')) as fake:
        how = ("describe.provider=openai", "describe.model=seer", f"describe.base_url={fake.url}")
        assert set(described(one_document, data, *how).values()) == {"A wall."}
        asked = len(fake.requests)
        described(one_document, data, *how)
    assert asked == len(fake.requests) == 3  # once for each picture, and never again
    sent = json.dumps([fake.requests, fake.headers])
    assert not re.search("jane|doe|i0|Wall of|example", sent)
    for request in fake.requests:
        assert {part["type"] for part in request["messages"][1]["content"]} == {"text", "image_url"}
        url = request["messages"][1]["content"][1]["image_url"]["url"]
        octets = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"), validate=True)
        picture = Image.open(io.BytesIO(octets))
        assert max(picture.size) == 512
        assert not picture.getexif() and not {"exif", "comment", "icc_profile"} & set(picture.info)
        assert b"jane" not in octets
