"""What can be measured of a sound, in words: its beat, how loud and how bright it is.

Whether it is fast or slow is not said: against a tagger's "fast" and "slow" the tempo of 160 songs was right in 56 %
of the cases, which is no better than chance.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.mel import centroid, tempo

VERSION = 1  # of the wording and of every bound here; part of the cache's key
RATE = 16_000  # samples a second that a sound is listened to by
SAME = 0.06  # share by which the tempo of the two halves may differ; else none is told
QUIET, LOUD = -24.0, -14.0  # decibels of the root mean square, 0 for the loudest there can be
DULL, BRIGHT = 1000.0, 2200.0  # mean frequency in Hz


def hear(sound: NDArray[np.float32]) -> str:
    """Mono sound at RATE -> such as "loud and of bright tone, with a steady beat of about 128 a minute"."""
    halves = [tempo(half, RATE) for half in np.array_split(sound, 2)]
    steady = min(halves) > 0 and max(halves) / min(halves) < 1 + SAME
    level = 10 * np.log10(max(float(np.mean(np.square(sound, dtype=np.float64))), 1e-12))
    loudness = "quiet" if level < QUIET else "loud" if level > LOUD else "of medium loudness"
    frequency = centroid(sound, RATE)
    tone = "dark" if frequency < DULL else "bright" if frequency > BRIGHT else "balanced"
    rhythm = f", with a steady beat of about {np.mean(halves):.0f} a minute" if steady else ""
    return f"{loudness} and of {tone} tone{rhythm}"
