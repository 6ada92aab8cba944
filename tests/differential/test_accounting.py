"""Noise for a budget, against published and computed values."""

import math

import pytest
from scipy.stats import norm

from gnnrec.differential.accounting import gaussian_epsilon, gaussian_multiplier


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-6), (1.0, 1e-5), (4.0, 1e-5), (8.0, 1e-3)])
def test_the_noise_is_that_of_the_analytic_gaussian_mechanism(epsilon: float, delta: float) -> None:
    """Balle & Wang 2018, theorem 8, with sensitivity 1."""
    sigma = gaussian_multiplier(epsilon, delta)
    first, second = norm.cdf(1 / (2 * sigma) - epsilon * sigma), norm.cdf(-1 / (2 * sigma) - epsilon * sigma)
    assert first - math.exp(epsilon) * second == pytest.approx(delta, rel=1e-4)
    assert gaussian_epsilon(sigma, delta) == pytest.approx(epsilon, rel=1e-4)


def test_the_published_value_for_one_and_a_hundred_thousandth() -> None:
    assert gaussian_multiplier(1.0, 1e-5) == pytest.approx(3.7306, abs=1e-3)  # the textbook bound would be 4.84


def test_no_noise_is_no_privacy_and_the_other_way_round() -> None:
    assert gaussian_multiplier(math.inf, 1e-5) == 0 and gaussian_epsilon(0.0, 1e-5) == math.inf
