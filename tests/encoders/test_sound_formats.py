"""A tone of 440 Hz that lasts two seconds stays one, whatever holds it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gnnrec.encoders.media import Unreadable, read_audio

RATE = 16_000
SECONDS, FREQUENCY, LEVEL = 2, 440, 0.5


def tone(rate: int, frequency: float = FREQUENCY) -> np.ndarray:
    return LEVEL * np.sin(2 * np.pi * frequency * np.arange(SECONDS * rate) / rate)


def measured(sound: np.ndarray) -> tuple[float, float, float]:
    """Seconds; the loudest frequency, to 1/16 Hz; and the amplitude of its middle."""
    middle = sound[len(sound) // 4 : 3 * len(sound) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 16 * RATE))
    return len(sound) / RATE, spectrum.argmax() / 16, float(np.sqrt(2 * np.mean(middle**2)))


def assert_the_tone(path: Path, *, seconds: float = 0.001, level: float = LEVEL, within: float = 0.005) -> None:
    found = measured(read_audio(path, RATE, 30))
    assert found[0] == pytest.approx(SECONDS, abs=seconds)
    assert found[1] == pytest.approx(FREQUENCY, abs=0.25)
    assert found[2] == pytest.approx(level, abs=within)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 192_000])
def test_wav(tmp_path: Path, subtype: str, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(rate), rate, subtype=subtype)
    assert_the_tone(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("suffix", "subtype", "rates"),
    [
        ("flac", "PCM_16", (8_000, 44_100, 96_000, 192_000)),
        ("flac", "PCM_24", (48_000,)),
        ("ogg", "VORBIS", (8_000, 22_050, 44_100, 192_000)),
        ("ogg", "OPUS", (8_000, 24_000, 48_000)),
        ("mp3", "MPEG_LAYER_III", (8_000, 16_000, 22_050, 44_100, 48_000)),
        ("aiff", "PCM_24", (44_100,)),
    ],
)
def test_packed(tmp_path: Path, suffix: str, subtype: str, rates: tuple[int, ...]) -> None:
    for rate in rates:
        path = tmp_path / f"{rate}.{suffix}"
        soundfile.write(path, tone(rate), rate, subtype=subtype)
        assert_the_tone(path, within=0.03)  # these lose a little


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_24"), ("flac", "PCM_16"), ("ogg", "VORBIS")])
@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(tmp_path: Path, suffix: str, subtype: str, channels: int) -> None:
    """One of them sounds, as the voice of a film does."""
    sound = np.zeros((SECONDS * 48_000, channels))
    sound[:, 1] = tone(48_000)
    soundfile.write(tmp_path / f"a.{suffix}", sound, 48_000, subtype=subtype)
    assert_the_tone(tmp_path / f"a.{suffix}", level=LEVEL / channels)


def test_channels_that_cancel_out_are_not_silent(tmp_path: Path) -> None:
    sound = tone(44_100)
    soundfile.write(tmp_path / "a.wav", np.stack([sound, -sound], axis=1), 44_100)
    assert_the_tone(tmp_path / "a.wav")


def test_what_is_too_high_for_the_encoder_does_not_come_back_as_something_lower(tmp_path: Path) -> None:
    """20 kHz sampled at 16 kHz would be heard at 4 kHz."""
    soundfile.write(tmp_path / "a.wav", 0.9 * (tone(96_000) + tone(96_000, 20_000)), 96_000)
    sound = read_audio(tmp_path / "a.wav", RATE, 30)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert spectrum[4_000 * SECONDS - 50 : 4_000 * SECONDS + 50].max() < 1e-4 * spectrum[FREQUENCY * SECONDS]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_too_short_and_empty(tmp_path: Path, suffix: str) -> None:
    for num_samples in (0, 100):
        soundfile.write(tmp_path / f"a.{suffix}", tone(44_100)[:num_samples], 44_100)
        with pytest.raises(Unreadable, match="0.00 s of sound|not a readable sound"):
            read_audio(tmp_path / f"a.{suffix}", RATE, 30)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(tmp_path: Path, wrong: float) -> None:
    sound = tone(RATE)
    sound[100:103] = wrong
    for subtype in ("FLOAT", "DOUBLE"):
        soundfile.write(tmp_path / "a.wav", sound, RATE, subtype=subtype)
        with pytest.raises(Unreadable, match="NaN or infinity in 3 samples"):
            read_audio(tmp_path / "a.wav", RATE, 30)
