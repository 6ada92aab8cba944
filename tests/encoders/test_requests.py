"""What requests have in common is taken from a query."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.requests import REQUESTS, Requests


class Planted:
    """A request is a constant, plus a large part along two axes, plus what it asks for in the others."""

    name, dim = "planted", 8

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.asked = 0.05 * random.normal(size=(len(REQUESTS), 8))
        self.manner = 5 * random.normal(size=(len(REQUESTS), 2))

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        places = [REQUESTS.index(text) for text in batch]
        values = 3.0 + self.asked[places]
        values[:, :2] += self.manner[places]
        return values.astype(np.float32)


def test_the_constant_and_the_manner_of_asking_go() -> None:
    rows = np.full((1, 8), 3.0, dtype=np.float32)
    rows[0, :2] += (4, -7)
    rows[0, 5] += 1
    left = Requests(Planted()).taken_from(rows)
    expected = np.eye(8)[[5]]
    assert np.linalg.norm(left - expected) < 0.3 < 5 < np.linalg.norm(rows - 3 - expected)


def test_it_is_the_mean_and_the_first_principal_axes() -> None:
    encoder = Planted()
    values = encoder.encode(REQUESTS).astype(np.float64)
    axes = np.linalg.eigh(np.cov(values.T))[1][:, ::-1].T
    rows = np.random.default_rng(1).normal(size=(4, 8)).astype(np.float32)
    for number in (0, 1, 3):
        expected = rows - values.mean(0)
        for axis in axes[:number]:
            expected = expected - np.outer(expected @ axis, axis)
        np.testing.assert_allclose(Requests(encoder, number).taken_from(rows), expected, atol=1e-4)


def test_requests_are_of_two_languages_and_none_twice() -> None:
    assert len(set(REQUESTS)) == len(REQUESTS)
    assert sum(text.isascii() for text in REQUESTS) == len(REQUESTS) / 2
