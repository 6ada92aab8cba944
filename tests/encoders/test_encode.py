"""Catalogue -> features with a small real encoder that counts the rows it sees."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.dataset import Dataset
from gnnrec.datasets.interactions import Interactions
from gnnrec.encoders import EncodersConfig, encode_catalog, encode_dataset, encode_query
from gnnrec.encoders.catalogue import ENCODERS, HANDMADE, open_encoder
from gnnrec.encoders.encode import encode_contents
from gnnrec.encoders.features import AudioEncoder
from gnnrec.encoders.media import read_audio, read_image
from gnnrec.errors import UserError

COLOURS = ((255, 0, 0), (0, 128, 0), (0, 0, 255), (10, 20, 30), (200, 100, 50))


class MeanColour:
    name, dim = "mean_colour@1", 3

    def __init__(self) -> None:
        self.seen = 0

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        self.seen += len(batch)
        return np.stack([np.asarray(picture, dtype=np.float32).mean(axis=(0, 1)) for picture in batch])


class Lengths:
    """Fails at the third batch the first time, like a machine that is switched off."""

    name, dim = "lengths@1", 1

    def __init__(self, fail: bool) -> None:
        self.fail, self.seen = fail, 0

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        if self.fail and self.seen >= 4:
            raise KeyboardInterrupt
        self.seen += len(batch)
        return np.array([[len(text)] for text in batch], dtype=np.float32)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path | None]:
    """Two of the same content, one missing, one broken, one that is not there."""
    paths: list[Path | None] = []
    for number, colour in enumerate(COLOURS):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    return [*paths, tmp_path / "copy.png", None, tmp_path / "broken.png", tmp_path / "absent.png"]


def encode(paths: list[Path | None], folder: Path) -> tuple[int, Any]:
    encoder = MeanColour()
    features = encode_contents(paths, "image", encoder, EncodersConfig(batch_size=2), folder / "cache")
    return encoder.seen, features


def test_values_masks_and_reasons(pictures: list[Path | None], tmp_path: Path) -> None:
    seen, features = encode(pictures, tmp_path)
    assert seen == 5  # the copy is not encoded again
    assert features.mask.tolist() == [True] * 6 + [False] * 3
    assert np.array_equal(features.values[:6], [*COLOURS, COLOURS[0]])
    assert not features.values[6:].any()
    assert list(features.rejected) == [7, 8]
    assert "not a readable picture" in features.rejected[7]
    assert features.rejected[8] == "No such file or directory"


def test_a_second_run_encodes_nothing_and_a_change_one_item(pictures: list[Path | None], tmp_path: Path) -> None:
    _, before = encode(pictures, tmp_path)
    seen, again = encode(pictures, tmp_path)
    assert seen == 0
    assert np.array_equal(before.values, again.values)
    assert again.rejected == before.rejected
    Image.new("RGB", (8, 8), (1, 2, 3)).save(tmp_path / "3.png")
    seen, changed = encode(pictures, tmp_path)
    assert seen == 1
    assert changed.values[3].tolist() == [1, 2, 3]


def test_what_a_limit_refused_is_tried_again_when_the_limit_is_raised(
    pictures: list[Path | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnnrec.encoders.media.MAX_PIXELS", 8 * 8 - 1)
    seen, features = encode(pictures, tmp_path)
    assert (seen, features.mask.any(), len(features.rejected)) == (0, False, 8)
    monkeypatch.undo()
    seen, features = encode(pictures, tmp_path)
    assert (seen, int(features.mask.sum())) == (5, 6)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    texts = ["x" * length for length in range(1, 12)]
    config = EncodersConfig(batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        encode_contents(texts, "text", Lengths(fail=True), config, tmp_path)
    second = Lengths(fail=False)
    features = encode_contents(texts, "text", second, config, tmp_path)
    assert second.seen == len(texts) - 4
    assert features.values[:, 0].tolist() == list(range(1, 12))


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.encode import encode_contents

class Lengths:
    name, dim, seen = "lengths@1", 1, 0

    def encode(self, batch):
        if self.seen == 6:
            print("three batches", flush=True)
            time.sleep(600)
        self.seen += len(batch)
        return np.array([[len(text)] for text in batch], dtype=np.float32)

texts = ["x" * length for length in range(1, 12)]
encode_contents(texts, "text", Lengths(), EncodersConfig(batch_size=2), Path(sys.argv[1]))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.kill()
    texts = ["x" * length for length in range(1, 12)]
    second = Lengths(fail=False)
    features = encode_contents(texts, "text", second, EncodersConfig(batch_size=2), tmp_path)
    assert second.seen == len(texts) - 6
    assert features.values[:, 0].tolist() == list(range(1, 12))


@pytest.mark.parametrize(
    ("modality", "name"),
    [(modality, name) for kind in (ENCODERS, HANDMADE) for modality in kind for name in kind[modality]],
)
def test_reading_ahead_changes_no_bit(modality: str, name: str, tmp_path: Path) -> None:
    """Each batch as it would be encoded by itself; contents differ in size, so that a wrong place would show."""
    encoder, config = open_encoder(modality, name), EncodersConfig(batch_size=3, audio_seconds=4)
    contents: list[Any] = ["robots " * count for count in range(1, 8)]
    for number in range(7) if modality != "text" else ():
        contents[number] = tmp_path / f"{number}.{'png' if modality == 'image' else 'wav'}"
        noise = np.random.default_rng(number)
        if modality == "image":
            Image.fromarray(noise.integers(0, 255, (30 + number, 40, 3), dtype=np.uint8)).save(contents[number])
        else:
            soundfile.write(contents[number], noise.normal(0, 0.1, 40_000 + 9_000 * number), 22_050)
    rate = encoder.sampling_rate if isinstance(encoder, AudioEncoder) else 0
    read = {"text": str, "image": read_image, "audio": lambda path: read_audio(path, rate, 4)}[modality]
    expected = [encoder.encode([read(content) for content in contents[start : start + 3]]) for start in (0, 3, 6)]
    found = encode_contents(contents, modality, encoder, config, tmp_path / "cache")
    assert found.mask.all()
    assert np.array_equal(found.values, np.concatenate(expected))


def test_long_sounds_make_small_batches(tmp_path: Path) -> None:
    class Batches(Lengths):
        sampling_rate = 8_000

        def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
            self.seen = max(self.seen, len(batch))
            return np.ones((len(batch), 1), dtype=np.float32)

    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 4_000), 8_000)
    paths = [tmp_path / f"{number}.wav" for number in range(6)]
    for seconds, most in ((30.0, 6), (400.0, 2), (3_600.0, 1)):
        encoder = Batches(fail=False)
        encode_contents(paths, "audio", encoder, EncodersConfig(audio_seconds=seconds), tmp_path / "cache")
        assert encoder.seen == most


def test_numbers_that_are_none_are_no_features(tmp_path: Path) -> None:
    class Overflow(Lengths):
        name = "overflow@1"

        def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
            return np.array([[np.nan if text == "bad" else 1] for text in batch], dtype=np.float32)

    features = encode_contents(["good", "bad"], "text", Overflow(False), EncodersConfig(), tmp_path)
    assert features.mask.tolist() == [True, False]
    assert features.rejected == {1: "the encoder gave no finite numbers"}


def small_dataset(folder: Path) -> Dataset:
    Image.new("RGB", (30, 40), (200, 30, 30)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    tone = 0.5 * np.sin(np.arange(32_000) / 16_000 * 2 * np.pi * 330)
    soundfile.write(folder / "a.wav", tone, 16_000)
    items = Catalog(
        table=pl.DataFrame({"item": ["a", "b"], "title": ["A book about robots", None]}),
        text_columns=("title",),
        media={"image": (folder / "a.png", folder / "b.png"), "audio": (folder / "a.wav", None)},
    )
    users = Catalog(table=pl.DataFrame({"user": ["u"], "bio": ["I like robots"]}), text_columns=("bio",))
    pair = np.array([0, 0], dtype=np.int32), np.array([0, 1], dtype=np.int32)
    log = Interactions(user=pair[0], item=pair[1], num_users=1, num_items=2)
    given = {"image": np.array([[1, 2], [np.nan, np.nan]], dtype=np.float32)}
    return Dataset(
        name="small",
        root=folder,
        user_ids=("u",),
        item_ids=("a", "b"),
        interactions=log,
        items=items,
        users=users,
        item_features=given,
    )


def test_a_dataset_with_the_default_encoders(tmp_path: Path) -> None:
    items, users = encode_dataset(small_dataset(tmp_path), EncodersConfig(), cache_dir=tmp_path / "cache", device="cpu")
    assert {name: features.values.shape for name, features in items.items()} == {
        "image": (2, 2),  # made elsewhere, so that no encoder ran
        "text": (2, 512),
        "audio": (2, 400),
    }
    assert all(features.mask.tolist() == [True, False] for features in items.values())
    assert items["image"].values.tolist() == [[1, 2], [0, 0]]
    assert users["text"].values[0] @ items["text"].values[0] > 0.3
    assert items["text"].encoder.startswith("use@")


def test_the_text_of_items_is_that_of_the_columns_asked_for(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path)
    config = EncodersConfig(columns="item, title", image="none", audio="none")
    items, users = encode_dataset(dataset, config, cache_dir=tmp_path / "cache", device="cpu")
    joined = Catalog(table=pl.DataFrame({"text": ["a. A book about robots", "b"]}), text_columns=("text",))
    expected = encode_catalog(joined, EncodersConfig(), cache_dir=tmp_path / "cache", device="cpu")["text"]
    np.testing.assert_array_equal(items["text"].values, expected.values)
    assert items["text"].mask.all() and users["text"].mask.all()  # those of users stay as they are
    with pytest.raises(UserError, match=r"encoders\.columns: found 'plot'; allowed: item, title"):
        encode_dataset(dataset, EncodersConfig(columns="title,plot"))


def test_none_leaves_a_modality_out(tmp_path: Path) -> None:
    catalog = small_dataset(tmp_path).items
    config = EncodersConfig(text="none", audio="none")
    features = encode_catalog(catalog, config, cache_dir=tmp_path / "cache", device="cpu")
    assert list(features) == ["image"]
    assert features["image"].mask.tolist() == [True, False]
    assert list(features["image"].rejected) == [1]


def test_a_query_of_any_subset(tmp_path: Path) -> None:
    dataset = small_dataset(tmp_path)
    config, opened = EncodersConfig(image="efficientnet_lite0"), {}
    catalog = encode_catalog(dataset.items, config, cache_dir=tmp_path / "cache", device="cpu")
    query = encode_query(config, image=tmp_path / "a.png", audio=tmp_path / "a.wav", device="cpu", opened=opened)
    assert set(query) == set(opened) == {"image", "audio"}
    for modality, values in query.items():
        np.testing.assert_allclose(values[0], catalog[modality].values[0], atol=1e-5)
    with pytest.raises(UserError, match=r"b\.png: not a readable picture"):
        encode_query(config, image=tmp_path / "b.png", device="cpu", opened=opened)
    with pytest.raises(UserError, match=r"absent\.wav"):
        encode_query(config, audio=tmp_path / "absent.wav", device="cpu", opened=opened)
    with pytest.raises(UserError, match=r"encoders\.text is 'none'"):
        encode_query(EncodersConfig(text="none"), text="robots")


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"audio_seconds": 0.0}, {"pooling": "min"}])
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        EncodersConfig(**wrong)
