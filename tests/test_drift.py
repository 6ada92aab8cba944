"""Measures of drift by hand."""

import numpy as np
import pytest

from gnnrec.drift import feature_drift, jensen_shannon, popularity_drift, psi


def test_jensen_shannon_of_the_same_and_of_nothing_in_common() -> None:
    first, second = np.array([0.5, 0.5, 0.0, 0.0]), np.array([0.0, 0.0, 0.5, 0.5])
    assert jensen_shannon(first, first) == 0
    assert jensen_shannon(first, second) == pytest.approx(1)  # bits
    # Half in common: each is log2(2) on the half it has alone, and 0 on the other.
    assert jensen_shannon(first, np.array([0.5, 0.0, 0.5, 0.0])) == pytest.approx(0.5)


def test_psi_by_hand() -> None:
    group = np.array([0, 1])
    found = psi(np.array([0.5, 0.5]), np.array([0.25, 0.75]), group)
    assert found == pytest.approx(-0.25 * np.log(0.5) + 0.25 * np.log(1.5))


def test_rows_drawn_as_before_are_no_drift_and_others_are() -> None:
    random = np.random.default_rng(0)
    weights = 1 / np.arange(1, 201)
    before = random.multinomial(20_000, weights / weights.sum())
    same = random.multinomial(2_000, weights / weights.sum())
    found, other = popularity_drift(before, same), popularity_drift(before, same[::-1])
    assert found["jensen_shannon"] < 1.3 * found["jensen_shannon_by_chance"]
    assert other["jensen_shannon"] > 5 * other["jensen_shannon_by_chance"]
    assert found["psi"] < 0.1 and other["psi"] > 1


def test_a_shift_of_features_is_found_in_standard_deviations() -> None:
    random = np.random.default_rng(0)
    before, after = (random.normal(3, 2, size=(size, 5)).astype(np.float32) for size in (5000, 400))
    assert feature_drift(before, after)["mean_shift"] == pytest.approx(
        feature_drift(before, after)["by_chance"], rel=0.6
    )
    assert feature_drift(before, after + 1)["mean_shift"] == pytest.approx(0.5, rel=0.1)  # one is half a deviation
