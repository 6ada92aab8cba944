"""Speech to text by the real model: what was said is what is written, and what is no speech is nothing."""

import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gnnrec.encoders.media import Unreadable
from gnnrec.encoders.speech import RATE, SpeechModel, _is_speech
from gnnrec.errors import UserError

DATA = Path(__file__).parents[2] / "data"
TALK = DATA / "books/query/talk.ogg"  # made with espeak-ng; a newly made one where it is installed
SAID = "I would like to learn more about artificial intelligence and deep learning."


@pytest.fixture(scope="module")
def model() -> SpeechModel:
    return SpeechModel("whisper")


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_what_was_said_is_written(model: SpeechModel, tmp_path: Path) -> None:
    assert words(model.transcribe(TALK, 30)) == words(SAID)
    if shutil.which("espeak-ng"):
        fresh = tmp_path / "fresh.wav"
        subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", fresh, SAID], check=True)
        assert words(model.transcribe(fresh, 30)) == words(SAID)


def test_only_the_first_seconds_are_heard(model: SpeechModel) -> None:
    heard = words(model.transcribe(TALK, 2))
    assert 2 <= len(heard) < 10 and heard[:2] == words(SAID)[:2]


def test_what_is_no_speech_is_nothing(model: SpeechModel) -> None:
    time = np.arange(4 * RATE) / RATE
    noise = np.random.default_rng(0).normal(0, 0.2, len(time)).astype(np.float32)
    melody = 0.3 * np.sin(2 * np.pi * 220 * 2 ** (np.floor(2 * time) % 5 / 12) * time).astype(np.float32)
    for sound in (noise, melody):
        assert model.words(sound) == ""
    assert model.transcribe(DATA / "music/clips/1.ogg", 10) == ""  # instruments


def test_a_broken_sound_gives_its_reason(model: SpeechModel, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(Unreadable, match="not a readable sound"):
        model.transcribe(tmp_path / "broken.wav", 30)


@pytest.mark.parametrize(
    ("kept", "values"),
    [
        (True, (0.1, -0.3, 1.2)),
        (False, (0.7, -0.3, 1.2)),
        (False, (0.1, -1.1, 1.2)),
        (False, (0.1, -0.3, 2.5)),
    ],
)
def test_doubtful_segments_are_dropped(kept: bool, values: tuple[float, float, float]) -> None:
    names = ("no_speech_prob", "avg_logprob", "compression_ratio")
    assert _is_speech(SimpleNamespace(**dict(zip(names, values)))) is kept


def test_a_model_that_is_not_here_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"encoders\.speech: .+: cannot be opened: "):
        SpeechModel(str(tmp_path))
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="the model 'whisper' is not here: gnnrec models get whisper"):
        SpeechModel("whisper")
