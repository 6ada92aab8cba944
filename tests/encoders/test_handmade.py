"""Descriptors with nothing learnt: they say of a made picture or sound what was put into it."""

import librosa
import numpy as np
import pytest
from PIL import Image

from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.classes import HANDMADE
from gnnrec.encoders.log_mel import BANDS, FLOOR, HOP, WINDOW
from gnnrec.encoders.opencv import COLOURS
from gnnrec.errors import UserError

RATE = 16_000
BINS = int(np.prod(COLOURS))


def tone(frequency: float, seconds: float = 2.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def test_log_mel_is_the_mean_and_deviation_that_librosa_finds() -> None:
    sound = tone(440) + np.random.default_rng(0).normal(0, 0.05, 2 * RATE).astype(np.float32)
    bands = {"n_fft": WINDOW, "hop_length": HOP, "n_mels": BANDS, "pad_mode": "constant"}
    expected = np.log(librosa.feature.melspectrogram(y=sound, sr=RATE, **bands) + FLOOR)
    (found,) = open_encoder("audio", "log_mel").encode([sound])
    assert np.allclose(found[:BANDS], expected.mean(1), atol=1e-3)
    assert np.allclose(found[BANDS : 2 * BANDS], expected.std(1), atol=1e-3)
    assert np.allclose(found[2 * BANDS :], np.abs(np.diff(expected, axis=1)).mean(1), atol=1e-3)


def test_log_mel_hears_pitch_and_loudness() -> None:
    low, high, louder = open_encoder("audio", "log_mel").encode([tone(300), tone(3000), 2 * tone(300)])
    assert low[:BANDS].argmax() < high[:BANDS].argmax()
    loudest = low[:BANDS].argmax()
    assert louder[loudest] - low[loudest] == pytest.approx(2 * np.log(2), abs=0.01)  # power, natural logarithm


def flat(colour: str) -> Image.Image:
    return Image.new("RGB", (80, 120), colour)


@pytest.mark.parametrize("name", ["/nowhere/encoder", "~/encoder", "./encoder"])
def test_a_folder_that_is_not_there_is_no_model_to_bring(name: str) -> None:
    with pytest.raises(UserError, match=f"^encoders.audio: {name}: no such folder$"):
        open_encoder("audio", name)


def test_a_misspelt_name_is_told_all_names() -> None:
    with pytest.raises(UserError, match="'log_mle': allowed are musicnn, resemblyzer, log_mel, a folder"):
        open_encoder("audio", "log_mle")


def test_opencv_finds_the_colour_of_each_half() -> None:
    encoder = open_encoder("image", "opencv")
    both = flat("red")
    both.paste(flat("blue").crop((0, 0, 80, 60)), (0, 60))
    red, blue, half = (row[: 2 * BINS] for row in encoder.encode([flat("red"), flat("blue"), both]))
    assert red.max() == 1.0 and np.count_nonzero(red) == 2  # all of either half in one bin
    assert np.array_equal(half, np.concatenate([red[:BINS], blue[BINS:]]))


def test_opencv_tells_the_direction_of_stripes() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8], stripes[:, 1::8] = 255, 255
    upright, lying = Image.fromarray(stripes), Image.fromarray(stripes.transpose(1, 0, 2).copy())
    same, other = open_encoder("image", "opencv").encode([upright, lying])[:, 2 * BINS :]
    cells = same.reshape(-1, 9).sum(0), other.reshape(-1, 9).sum(0)  # of each orientation
    assert abs(int(cells[0].argmax()) - int(cells[1].argmax())) in (4, 5)  # of nine bins over half a turn


@pytest.mark.parametrize(("modality", "name"), [(kind, name) for kind, names in HANDMADE.items() for name in names])
def test_they_keep_the_contract(modality: str, name: str) -> None:
    encoder = open_encoder(modality, name)
    batch = [flat("gray"), flat("red")] if modality == "image" else [tone(200), tone(900, 0.1)]
    found = encoder.encode(batch)
    assert found.shape == (2, encoder.dim) and found.dtype == np.float32 and np.isfinite(found).all()
    assert np.array_equal(encoder.encode(batch[1:]), found[1:])
