import itertools

import numpy as np
import pytest
from scipy import stats

from gnnrec.errors import UserError
from gnnrec.significance import compare, holm, randomisation_test, surest


def compared(first, second, **options):
    users = np.arange(len(first))
    return compare(first, second, first_users=users, second_users=users, **options)


def test_a_planted_difference_is_found_and_noise_is_not():
    random = np.random.default_rng(0)
    base = random.random(300)
    better = compared(base + random.normal(0.05, 0.1, 300), base)
    assert better.num_users == 300
    assert max(better.p_t, better.p_wilcoxon, better.p_randomisation) < 1e-3
    assert 0 < better.interval[0] < better.difference < better.interval[1]
    noise = compared(base + random.normal(0, 0.1, 300), base)
    assert min(noise.p_t, noise.p_wilcoxon, noise.p_randomisation) > 0.05
    assert noise.interval[0] < 0 < noise.interval[1]


def test_t_and_wilcoxon_are_those_of_the_textbook():
    first, second = np.array([0.9, 0.4, 0.7, 0.3, 0.8, 0.65]), np.array([0.6, 0.5, 0.3, 0.1, 0.15, 0.6])
    difference = first - second
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(6))
    result = compared(first, second)
    assert result.p_t == pytest.approx(2 * stats.t.sf(abs(t), 5))
    # Signed-rank by enumeration of all signs: ranks 1..6 of |difference|.
    ranks = stats.rankdata(np.abs(difference))
    observed = abs((np.sign(difference) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in itertools.product((-1, 1), repeat=6)]
    assert result.p_wilcoxon == pytest.approx(np.mean(np.array(sums) >= observed))


def test_randomisation_equals_all_sign_flips():
    difference = np.array([0.3, -0.1, 0.4, 0.2, 0.0, 0.7, -0.2, 0.25])
    sums = [abs(np.dot(signs, difference)) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean(np.array(sums) >= abs(difference.sum()) - 1e-12)
    assert randomisation_test(difference, resamples=100_000, seed=1) == pytest.approx(exact, abs=0.005)
    assert randomisation_test(difference, seed=1) == randomisation_test(difference, seed=1)


def test_equal_runs_and_a_constant_difference():
    values = np.array([0.5, 0.0, 1.0])
    same = compared(values, values)
    assert (same.difference, same.interval) == (0, (0, 0))
    assert (same.p_t, same.p_wilcoxon, same.p_randomisation) == (1, 1, 1)
    assert compared(np.full(20, 0.5), np.full(20, 0.25)).p_t == 0


def test_different_users_are_refused():
    with pytest.raises(UserError, match=r"different users \(3 and 3\)"):
        compare(np.ones(3), np.ones(3), first_users=np.array([0, 1, 2]), second_users=np.array([0, 1, 3]))
    with pytest.raises(UserError, match="2 values for 3 users"):
        compare(np.ones(3), np.ones(2), first_users=np.arange(3), second_users=np.arange(3))
    with pytest.raises(UserError, match="at least 2"):
        compared(np.ones(1), np.ones(1))


def test_holm_by_hand():
    # Sorted: .01 * 4, .02 * 3, .03 * 2, .5 * 1; never below the one before.
    assert holm({"a": 0.03, "b": 0.01, "c": 0.5, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.5, "d": 0.06}
    )
    assert list(holm({"a": 0.03, "b": 0.01})) == ["a", "b"]
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_the_surest_of_one_is_tested_as_one() -> None:
    difference = np.random.default_rng(0).normal(0.2, 1, size=80)
    place, p = surest(difference[None, :], seed=3)
    assert place == 0
    assert p == pytest.approx(randomisation_test(difference, seed=3), abs=0.01)


def test_to_have_chosen_is_paid_for() -> None:
    """Of noise, the best of eight would be sure in far more than a twentieth of the cases, were it tested alone."""
    random, naive, fair = np.random.default_rng(0), 0, 0
    for draw in range(200):
        differences = random.normal(size=(8, 40))
        place, p = surest(differences, resamples=400, seed=draw)
        naive += randomisation_test(differences[place], resamples=400, seed=draw) < 0.05
        fair += p < 0.05
    assert naive > 30
    assert fair <= 18  # of 200 a twentieth is 10, and 18 is 2.6 standard deviations above


def test_the_surest_is_not_the_largest() -> None:
    steady, wild = np.full(30, 0.1), np.where(np.arange(30) % 2, 3.0, -2.0)
    assert wild.mean() > steady.mean()
    place, p = surest(np.stack([wild, steady, np.zeros(30)]))
    assert (place, p < 0.001) == (1, True)
    assert surest(np.zeros((3, 5))) == (0, 1.0)
