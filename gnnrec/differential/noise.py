"""Random numbers for privacy: never from a setting of a run, since who knows the seed can take the noise off again.

They are drawn in float64 and what is released is rounded to float32. That leaves out most, and not provably all, of
the low bits by which a float tells which noise made it (Mironov 2012, "On significance of the least significant bits
for differential privacy"): the epsilon is that of the exact mechanism.
"""

import secrets

import numpy as np
import torch
from torch import Generator, Tensor

_HEAD, _WORDS = 24, 624  # bytes before the words of the Mersenne Twister in torch's state, 8 bytes a word


def secret_generator() -> Generator:
    """A generator of torch on the CPU whose whole state, 19,937 bits, comes from the system's secure source.

    A seed would not do: torch takes 32 bits of it, few enough to try them all.
    """
    generator = Generator()
    state = generator.get_state()
    words = np.frombuffer(secrets.token_bytes(4 * _WORDS), dtype=np.uint32).astype(np.uint64)
    state[_HEAD : _HEAD + 8 * _WORDS] = torch.from_numpy(words.view(np.uint8).copy())
    generator.set_state(state)
    # A chunk of words is spent first: the twister's next one mixes all of them.
    torch.rand(_WORDS, generator=generator)
    return generator


def gaussian(shape: tuple[int, ...], std: float, generator: Generator) -> Tensor:
    """Independent normal values of the given standard deviation, float64; zeros for a deviation of 0."""
    if std == 0:
        return torch.zeros(shape, dtype=torch.float64)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * std


def symmetric_gaussian(size: int, std: float, generator: Generator) -> Tensor:
    """A symmetric matrix [size, size] that is normal with `std` along every direction of the Frobenius norm.

    The diagonal has the deviation `std` and each entry beside it std / sqrt(2), since it stands there twice. So a
    symmetric statistic whose Frobenius norm moves by 1 at most is as private as a vector is with `std` (Dwork et al.
    2014, "Analyze Gauss", with the noise that this norm needs in the place of twice that off the diagonal).
    """
    square = gaussian((size, size), std, generator)
    return (square + square.T) / 2  # beside the diagonal a mean of two; on it the value itself
