"""Real weights: `gnnrec models get musicnn` and `resemblyzer` come before these tests. Sounds are made here."""

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.mel import MelSpectrogram
from gnnrec.encoders.musicnn import MusicnnEncoder

RATE = 16_000
TIME = np.arange(6 * RATE) / RATE


def note(frequency: float, overtones: list[float], decay: float) -> NDArray[np.float64]:
    time = np.arange(RATE // 2) / RATE
    waves = [height * np.sin(2 * np.pi * frequency * k * time) for k, height in enumerate(overtones, 1)]
    return np.sum(waves, axis=0) * np.exp(-decay * time)


def sounds() -> dict[str, NDArray[np.float32]]:
    random, beat = np.random.default_rng(0), np.arange(RATE // 4) / RATE
    kick = 2 * np.sin(2 * np.pi * 60 * beat) * np.exp(-12 * beat)
    snare = random.normal(0, 1, len(beat)) * np.exp(-30 * beat)
    melody = (262, 330, 392, 523, 392, 330, 262, 294, 349, 440, 349, 294)
    flute = np.sin(2 * np.pi * 587 * TIME + 3 * np.sin(2 * np.pi * 5 * TIME)) + random.normal(0, 0.07, len(TIME))
    made = {
        "piano": np.concatenate([note(f, [1, 0.5, 0.3, 0.15, 0.1], 4) for f in melody]),
        "drums": np.tile(np.concatenate([snare, kick]), 12),
        "flute": flute,
        "ambient": np.sum([np.sin(2 * np.pi * f * TIME + np.sin(0.4 * np.pi * TIME)) for f in (110, 165, 277)], axis=0),
    }
    return {name: (0.5 * sound / np.abs(sound).max()).astype(np.float32) for name, sound in made.items()}


def test_musicnn_hears_what_was_made() -> None:
    encoder = open_encoder("audio", "musicnn")
    assert isinstance(encoder, MusicnnEncoder)
    made = sounds()
    tags = encoder.tag(list(made.values()))
    assert tags.shape == (4, len(encoder.tags)) == (4, 100)
    for name, row in zip(made, tags):
        best = [encoder.tags[place] for place in row[:50].argsort()[::-1][:5]]
        assert name in best, f"{name}: {best}"


def test_tags_of_an_embedding_are_those_of_the_sound() -> None:
    encoder = open_encoder("audio", "musicnn")
    assert isinstance(encoder, MusicnnEncoder)
    patches = [sound[: 3 * RATE] for sound in sounds().values()]  # of one patch each, so that no mean is taken
    assert np.allclose(encoder.tags_of(encoder.encode(patches)), encoder.tag(patches), atol=1e-5)


@pytest.mark.parametrize("name", ["musicnn", "resemblyzer"])
def test_the_same_sound_is_nearest_to_itself(name: str) -> None:
    encoder = open_encoder("audio", name)
    made = sounds()
    first = encoder.encode([sound[: 3 * RATE] for sound in made.values()])
    second = encoder.encode([sound[3 * RATE :] for sound in made.values()])
    assert first.shape == (4, encoder.dim)
    both = np.concatenate([first, second])
    centred = (both - both.mean(axis=0)) / np.linalg.norm(both - both.mean(axis=0), axis=1, keepdims=True)
    assert np.array_equal((centred[:4] @ centred[4:].T).argmax(axis=1), np.arange(4))


@pytest.mark.parametrize("name", ["musicnn", "resemblyzer"])
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    encoder = open_encoder("audio", name)
    sound = sounds()["piano"]
    lengths = [sound[: RATE // 10], sound, sound[: 2 * RATE]]
    for one, row in zip(lengths, encoder.encode(lengths)):
        np.testing.assert_allclose(encoder.encode([one])[0], row, atol=1e-4)


@pytest.mark.parametrize(("window", "hop", "bands"), [(512, 256, 96), (400, 160, 40)])
def test_mel_spectrogram_equals_librosa(window: int, hop: int, bands: int) -> None:
    sound = sounds()["drums"]
    ours = MelSpectrogram(RATE, window=window, hop=hop, bands=bands)(torch.from_numpy(sound))
    theirs = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=window, hop_length=hop, n_mels=bands).T
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-4)
