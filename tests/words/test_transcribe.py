"""What is said in sounds as a modality, by the real speech model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from gnnrec.datasets import Catalog, Dataset, split
from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.speech import SpeechModel
from gnnrec.errors import UserError
from gnnrec.graph import item_modalities
from gnnrec.pipeline import training_graph, written_content
from gnnrec.recipe import load_recipe
from gnnrec.words.transcribe import transcribe

TALK = Path(__file__).parents[2] / "data/books/query/talk.ogg"


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path | None]:
    """A talk, a tone, none, no sound, the talk in another file."""
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(32_000) / 20), 16_000)
    (tmp_path / "broken.wav").write_text("no sound")
    (tmp_path / "again.ogg").write_bytes(TALK.read_bytes())
    (tmp_path / "talk.ogg").write_bytes(TALK.read_bytes())
    return [tmp_path / "talk.ogg", tmp_path / "tone.wav", None, tmp_path / "broken.wav", tmp_path / "again.ogg"]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the model was given; it still listens."""
    names: list[str] = []
    listen: Callable[[SpeechModel, Path, float], str] = SpeechModel.transcribe

    def noted(self: SpeechModel, path: Path, seconds: float) -> str:
        names.append(path.name)
        return listen(self, path, seconds)

    monkeypatch.setattr(SpeechModel, "transcribe", noted)
    return names


def test_each_content_is_heard_once(sounds: list[Path | None], heard: list[str], tmp_path: Path) -> None:
    catalog = Catalog(table=pl.DataFrame({"item": range(5)}), media={"audio": tuple(sounds)})
    found = transcribe(catalog, EncodersConfig(), tmp_path / "words")
    assert [(row.row, row.modality) for row in found.rows] == [(0, "audio"), (4, "audio")]
    assert found.rows[0].text == found.rows[1].text
    assert "artificial intelligence and deep learning" in found.rows[0].text.lower()
    assert found.rows[0].made_by.startswith("whisper@")
    assert heard == ["talk.ogg", "tone.wav", "broken.wav"]
    assert transcribe(catalog, EncodersConfig(), tmp_path / "words") == found
    assert heard == ["talk.ogg", "tone.wav", "broken.wav", "broken.wav"]  # that there is no speech is known too


def test_transcripts_are_a_modality(
    sounds: list[Path | None], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"u{n},i{n % 5}\nu{n},i{n % 3}\n" for n in range(20)))
    rows = [f"i{n},{path.name if path else ''}" for n, path in enumerate(sounds)]
    (tmp_path / "items.csv").write_text("\n".join(["item,clip", *rows]) + "\n")
    (tmp_path / "dataset.toml").write_text(
        '[interactions]\npath = "log.csv"\nuser = "user"\nitem = "item"\n'
        '[items]\npath = "items.csv"\nid = "item"\naudio = "clip"\n'
    )
    dataset, said = Dataset.load(tmp_path), list[str]()
    recipe = load_recipe(overrides=["graph.transcripts=true"])
    parts = split(dataset, recipe.split_config(dataset))
    written = written_content(dataset, parts, {}, recipe, said.append)
    mask = written.items["transcript"].mask
    assert {dataset.item_ids[index] for index in np.flatnonzero(mask)} == {"i0", "i4"}
    assert list(written.record) == ["transcript"] and said == [f"transcripts of items: 2 by {_maker(written.record)}"]
    assert item_modalities(training_graph(dataset, parts, {}, {}, recipe, written)) == ("transcript",)


def _maker(record: object) -> str:
    assert isinstance(record, dict)
    (maker,) = record["transcript"]["made_by"]
    return str(maker)


def test_what_cannot_be_transcribed_is_one_clear_line(tiny_data: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(tiny_data)

    def write(*settings: str) -> None:
        recipe = load_recipe(overrides=["graph.transcripts=true", *settings])
        written_content(dataset, split(dataset, recipe.split_config(dataset)), {}, recipe)

    with pytest.raises(UserError, match=r"graph\.transcripts: no item has a sound in which speech is heard"):
        write()
    with pytest.raises(UserError, match=r"graph\.transcripts: needs a speech model, but encoders\.speech is 'none'"):
        write("encoders.speech=none")
    with pytest.raises(UserError, match=r"graph\.transcripts: needs a text encoder, but encoders\.text is 'none'"):
        write("encoders.text=none")
