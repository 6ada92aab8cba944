"""A sound alone finds the item that sounds like it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from gnnrec.datasets import Dataset
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender

RATE = 16_000  # samples a second
DESCRIBED = """
[interactions]
path = "log.csv"
timestamp = "timestamp"
rating = "rating"
[items]
path = "items.csv"
audio = "clip"
"""


def write_tone(path: Path, item: int, loudness: float) -> None:
    """One second of the tone of an item, in the format that the name of the file says."""
    pitch = 200 + 90 * item
    soundfile.write(path, loudness * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE), RATE)


@pytest.fixture(scope="module")
def sound_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of items that have a tone each, and nothing else."""
    folder = tmp_path_factory.mktemp("sounds") / "data"
    folder.mkdir()
    (folder / "log.csv").write_text((tiny_data / "log.csv").read_text())
    items = pl.read_csv(tiny_data / "items.csv").select("item").with_columns(clip=pl.col("item") + ".wav")
    items.write_csv(folder / "items.csv")
    for number, name in enumerate(items["clip"]):
        write_tone(folder / name, number, 0.3)
    (folder / "dataset.toml").write_text(DESCRIBED)
    few = ["train.epochs=1", "model.dim=8", "train.batch_size=128", "encoders.audio=log_mel"]
    return train(Dataset.load(folder), folder.parent / "run", load_recipe(overrides=few)).folder


@pytest.mark.parametrize("item", [3, 12, 25])
def test_a_sound_finds_the_item_that_sounds_like_it(serve, sound_run, tmp_path, item):
    client, recommender, heard = serve(sound_run), Recommender.load(sound_run), tmp_path / "heard.ogg"
    write_tone(heard, item, 0.1)  # softer, and in another format
    answer = client.post("/recommend", files={"audio": ("x.bin", heard.read_bytes())}, data={"k": "3"})
    found = [place["id"] for place in answer.json()["items"]]
    assert found[0] == f"i{item}"
    assert found == [place.id for place in recommender.recommend_query(audio=heard, k=3)]
    answer = client.post("/recommend", files={"audio": heard.read_bytes()}, data={"to_users": "true"})
    expected = recommender.users_for_query(audio=heard)
    assert [place["id"] for place in answer.json()["users"]] == [place.id for place in expected]
