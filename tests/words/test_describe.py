"""Descriptions: of pictures, sounds and neighbours only; kept by content; a captioning model is believed in nothing."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from fake_server import said, serving
from PIL import Image

from gnnrec.datasets import Catalog
from gnnrec.encoders import EncodersConfig, Features
from gnnrec.errors import UserError
from gnnrec.words import describe as module
from gnnrec.words.asking import BROKEN, LONGEST
from gnnrec.words.describe import OFFLINE, Descriptions, caption_depends_on, describe
from gnnrec.words.settings import DescribeConfig

COLOURS = {"red": (215, 30, 38), "blue": (40, 85, 195)}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Twelve red pictures of horror, twelve blue ones of romance; the last is no picture, and one more has none."""
    paths: list[Path | None] = []
    for row in range(24):
        path = tmp_path / f"secret-name-{row}.jpg"
        picture = Image.new("RGB", (40 + row, 60), COLOURS["red" if row < 12 else "blue"])
        exif = Image.Exif()
        exif[0x010E] = "canary of the camera"
        picture.save(path, exif=exif, comment=b"canary comment")
        paths.append(path)
    (tmp_path / "broken.jpg").write_text("no picture")
    titles = [f"Own title {row}" for row in range(26)]
    genres = ["horror"] * 12 + ["romance"] * 12 + ["horror", "horror"]
    table = pl.DataFrame({"id": [f"secret-id-{row}" for row in range(26)], "title": titles, "genres": genres})
    return Catalog(table, ("title", "genres"), {"image": (*paths, tmp_path / "broken.jpg", None)})


@pytest.fixture
def features(catalog: Catalog) -> dict[str, Features]:
    values = np.random.default_rng(0).normal(0, 0.1, (26, 6)).astype(np.float32)
    values[:12] += 1
    values[12:24] -= 1
    return {"image": Features(values=values, mask=np.arange(26) < 24, encoder="made")}


def described(catalog: Catalog, features: dict[str, Features], cache: Path, **settings: Any) -> Descriptions:
    return describe(catalog, features, EncodersConfig(), DescribeConfig(**settings), cache)


def test_pictures_are_described_by_colours_and_neighbours(
    catalog: Catalog, features: dict[str, Features], tmp_path: Path
) -> None:
    found = described(catalog, features, tmp_path / "words")
    assert [row.row for row in found.rows] == list(range(24))  # neither the broken nor the missing
    for row in found.rows:
        colour, genre = ("red", "horror") if row.row < 12 else ("blue", "romance")
        assert row.text.startswith(f"The picture is mostly {colour}; ")
        assert row.text.endswith(f"Pictures like it often stand for {genre}.")
        assert (row.modality, row.made_by) == ("image", OFFLINE)
    assert found.made_by() == {OFFLINE: 24}
    assert found.texts(26)[24:] == [None, None]
    assert described(catalog, features, tmp_path / "words") == found  # from the cache


def test_an_items_own_text_says_nothing_of_its_picture(
    catalog: Catalog, features: dict[str, Features], tmp_path: Path
) -> None:
    before = described(catalog, features, tmp_path / "words").rows
    table = catalog.table.with_columns(
        pl.when(pl.col("id") == "secret-id-3").then(pl.lit("musical")).otherwise(pl.col("genres")).alias("genres"),
        title=pl.lit("Another"),
    )
    after = described(replace(catalog, table=table), features, tmp_path / "words").rows
    assert after[3] == before[3]


def test_what_is_measured_is_measured_once_for_each_content(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = described(catalog, {}, tmp_path / "words")
    measured: list[Path] = []
    real = module._measure
    monkeypatch.setattr(module, "_measure", lambda kind, path, *more: measured.append(path) or real(kind, path, *more))
    assert catalog.media is not None
    changed = catalog.media["image"][5]
    assert changed is not None
    Image.new("RGB", (30, 30), (250, 250, 250)).save(changed)
    second = described(catalog, {}, tmp_path / "words")
    assert [path.name for path in measured] == ["secret-name-5.jpg", "broken.jpg"]  # failures are not kept
    assert [row.row for row, old in zip(second.rows, first.rows) if row != old] == [5]


def test_sounds_are_described(tmp_path: Path) -> None:
    time = np.arange(4 * 16_000) / 16_000
    soundfile.write(tmp_path / "low.wav", 0.9 * np.sin(2 * np.pi * 200 * time), 16_000)
    catalog = Catalog(pl.DataFrame({"title": ["A"]}), ("title",), {"audio": (tmp_path / "low.wav",)})
    (row,) = described(catalog, {}, tmp_path / "words").rows
    assert row.modality == "audio" and row.text.startswith("The sound is loud and of dark tone")


def test_a_server_is_shown_a_small_picture_and_nothing_else(
    catalog: Catalog, features: dict[str, Features], tmp_path: Path
) -> None:
    assert catalog.media is not None
    large = catalog.media["image"][0]
    assert large is not None
    exif = Image.Exif()
    exif[0x010E] = "canary of the camera"
    Image.new("RGB", (1600, 900), COLOURS["red"]).save(large, exif=exif, comment=b"canary comment")
    answer = json.dumps({"text": "A red <|im_start|> wall.\n" + "long " * 400})
    with serving(lambda _: said(answer)) as fake:
        how = {"provider": "openai", "model": "seer", "base_url": fake.url}
        found = described(catalog, features, tmp_path / "words", **how)
        asked = len(fake.requests)
        again = described(catalog, features, tmp_path / "words", **how)
        assert len(fake.requests) == asked == 24
    assert again == found
    assert found.made_by() == {f"seer@{fake.url}": 24}
    assert found.rows[0].text.startswith("A red wall. long") and len(found.rows[0].text) <= LONGEST
    sent = json.dumps(fake.requests)
    assert not any(word in sent for word in ("secret", "canary", "Own title", "horror", str(tmp_path)))
    url = fake.requests[0]["messages"][1]["content"][1]["image_url"]["url"]
    data = base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))
    picture = Image.open(io.BytesIO(data))
    assert max(picture.size) == 512
    assert not picture.getexif() and "comment" not in picture.info and b"canary" not in data


def test_a_server_that_fails_leaves_what_is_measured_and_is_asked_again(
    catalog: Catalog, features: dict[str, Features], tmp_path: Path
) -> None:
    offline = described(catalog, features, tmp_path / "words")
    with serving(lambda _: (401, {}, "{}")) as fake:
        how = {"provider": "openai", "model": "seer", "base_url": fake.url}
        found = described(catalog, features, tmp_path / "words", **how)
        assert found.rows == offline.rows
        assert len(fake.requests) == BROKEN and len(found.failures) == 24
        assert found.failures[0] == "the server answered with status 401" and "left alone" in found.failures[-1]
        fake.behave = lambda _: said('{"text": "A wall."}')
        better = described(catalog, features, tmp_path / "words", **how)
        assert {row.text for row in better.rows} == {"A wall."} and better.failures == ()
        few = described(catalog, features, tmp_path / "other", **how, calls=2)
    assert few.made_by() == {OFFLINE: 22, f"seer@{fake.url}": 2}
    assert few.failures[0] == "the budget of calls is used up"


def test_the_key_holds_all_that_a_caption_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def caption(self, picture: Any) -> str:
            raise AssertionError

    def key(name: str = "a@1", content: str = "00", **settings: Any) -> str:
        return json.dumps(caption_depends_on(Named(name), DescribeConfig(**settings), content))

    keys = {key(), key(name="b@1"), key(name="a@2"), key(content="01"), key(revision="2")}
    for name, value in (("VERSION", 99), ("PROMPT", "?"), ("SYSTEM", "!"), ("MAX_TOKENS", 3), ("TEXT_SCHEMA", {})):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            keys.add(key())
    assert len(keys) == 10 and key() == key()


def test_a_model_that_is_not_here_is_told(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="describe.model is 'nope': allowed are a folder, or an id of the hub"):
        described(catalog, {}, tmp_path, model="nope")
    with pytest.raises(UserError, match="describe.base_url: found ''"):
        described(catalog, {}, tmp_path, provider="openai", model="seer")
    with pytest.raises(UserError, match="describe.model: found ''; allowed with openai"):
        DescribeConfig(provider="openai")
