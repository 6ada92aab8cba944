"""Sounds: noise, shift, stretch, pitch, gain. Each (sound, strength, random) -> sound of the same length and rate.

By audiomentations, with amounts that are drawn here from `random`, since it draws from the global states of Python and
NumPy, which threads share. Only its noise cannot be had otherwise, so that the noise is made here.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gnnrec.errors import missing_extra


class Sound(NamedTuple):
    samples: NDArray[np.float32]  # [n] mono, -1 to 1
    rate: int  # samples a second


def noise(sound: Sound, strength: float, random: Generator) -> Sound:
    """White noise of up to `strength` times the root mean square of the sound."""
    amount = strength * (1 - random.random())  # above 0
    return with_noise(sound, -20 * float(np.log10(amount)), random)


def shift(sound: Sound, strength: float, random: Generator) -> Sound:
    """Rotated in time by up to the share `strength` of its length, either way: what leaves at one end enters at the
    other."""
    return shifted(sound, round(random.uniform(-strength, strength) * len(sound.samples)))


def stretch(sound: Sound, strength: float, random: Generator) -> Sound:
    """Up to 1 + `strength` times as quick or as slow."""
    return stretched(sound, float(np.exp(random.uniform(-1, 1) * np.log1p(strength))))


def pitch(sound: Sound, strength: float, random: Generator) -> Sound:
    """Higher or lower by up to `strength` semitones."""
    return transposed(sound, random.uniform(-strength, strength))


def gain(sound: Sound, strength: float, random: Generator) -> Sound:
    """Louder or softer by up to `strength` dB."""
    return louder(sound, random.uniform(-strength, strength))


def with_noise(sound: Sound, snr: float, random: Generator) -> Sound:
    """White Gaussian noise at a signal-to-noise ratio of exactly `snr` dB."""
    drawn = random.standard_normal(len(sound.samples))
    level = _rms(sound.samples) * 10 ** (-snr / 20) / max(_rms(drawn), 1e-12)
    return _as(sound, sound.samples + drawn * level)


def shifted(sound: Sound, places: int) -> Sound:
    transform = _library().Shift(shift_unit="samples", min_shift=places, max_shift=places, fade_duration=0.0)
    return _as(sound, _apply(transform, sound, shift_amount=places))


def stretched(sound: Sound, speed: float) -> Sound:
    """`speed` times as quick. What is too long is cut; what is too short begins again, since silence at the end would
    tell which sounds were changed."""
    transform = _library().TimeStretch(leave_length_unchanged=False)
    return _as(sound, np.resize(_apply(transform, sound, rate=speed), len(sound.samples)))


def transposed(sound: Sound, semitones: float) -> Sound:
    return _as(sound, _apply(_library().PitchShift(), sound, num_semitones=semitones))


def louder(sound: Sound, decibels: float) -> Sound:
    """May leave the range of -1 to 1."""
    return _as(sound, _apply(_library().Gain(), sound, amplitude_ratio=10 ** (decibels / 20)))


def within_range(sound: Sound) -> Sound:
    """As loud as encoders expect: what exceeds 1 is made softer as a whole, as media.py does."""
    peak = np.abs(sound.samples).max(initial=0.0)
    return _as(sound, sound.samples / peak) if peak > 1 else sound


def _apply(transform: Any, sound: Sound, **parameters: Any) -> Any:
    """The transform with these parameters in place of random ones."""
    transform.parameters = {"should_apply": True} | parameters
    transform.freeze_parameters()
    return transform(np.ascontiguousarray(sound.samples, dtype=np.float32), sound.rate)


def _as(sound: Sound, samples: Any) -> Sound:
    return sound._replace(samples=np.ascontiguousarray(samples, dtype=np.float32))


def _rms(samples: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _library() -> Any:
    try:
        import audiomentations
    except ImportError as error:
        raise missing_extra("augment", "audiomentations") from error
    return audiomentations
