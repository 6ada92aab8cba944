"""What is said of a sound is what was played."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from gnnrec.words.sound import RATE, hear

TIME = np.arange(20 * RATE) / RATE


def clicks(beats: float) -> NDArray[np.float32]:
    """Short noise, so many times a minute."""
    noise = np.random.default_rng(0).normal(0, 0.5, len(TIME))
    return (noise * np.exp(-60 * (TIME % (60 / beats)))).astype(np.float32)


@pytest.mark.parametrize("beats", [96, 120, 140])
def test_the_beat_of_clicks(beats: int) -> None:
    found = re.search(r"steady beat of about (\d+) a minute", hear(clicks(beats)))
    assert found and int(found[1]) == pytest.approx(beats, rel=0.04)


def test_a_tempo_that_changes_is_not_told() -> None:
    both = np.concatenate([clicks(80)[: 10 * RATE], clicks(130)[: 10 * RATE]])
    assert "beat" not in hear(both)


@pytest.mark.parametrize(("frequency", "tone"), [(300, "dark"), (1500, "balanced"), (5000, "bright")])
@pytest.mark.parametrize(("peak", "loudness"), [(0.9, "loud"), (0.12, "of medium loudness"), (0.01, "quiet")])
def test_loudness_and_tone_of_a_sine(frequency: int, tone: str, peak: float, loudness: str) -> None:
    sine = (peak * np.sin(2 * np.pi * frequency * TIME)).astype(np.float32)
    assert hear(sine).startswith(f"{loudness} and of {tone} tone")
