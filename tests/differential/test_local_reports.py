"""Reports that are noisy from the start: unbiased, as variable as stated, and private by their likelihoods."""

import math

import numpy as np
import pytest

from gnnrec.differential.local import KEPT, estimated_counts, other, randomized_report, standard_error

ITEMS, USERS, EPSILON = 12, 300, 1.0


def estimates(trials: int) -> np.ndarray:
    """Two thirds of the users have item 4, the others 1 and 2; nobody has the rest."""
    random = np.random.default_rng(0)
    own = [[4] if user % 3 else [1, 2] for user in range(USERS)]
    return np.stack(
        [
            estimated_counts(
                sum(randomized_report(items, ITEMS, EPSILON, random).astype(int) for items in own), USERS, EPSILON
            )
            for _ in range(trials)
        ]
    )


def test_the_estimate_is_unbiased_and_its_error_is_as_stated() -> None:
    found = estimates(200)
    expected = np.zeros(ITEMS)
    expected[[1, 2, 4]] = 50, 50, 200
    error = standard_error(USERS, EPSILON)
    assert error == pytest.approx(math.sqrt(4 * math.e * USERS) / (math.e - 1))  # Wang et al. 2017, table 1
    np.testing.assert_allclose(found.mean(0), expected, atol=4 * error / math.sqrt(200))
    assert found[:, 5:].std(0).mean() == pytest.approx(error, rel=0.06)


def test_any_report_is_at_most_e_to_the_epsilon_times_as_likely_with_another_item() -> None:
    """Only the two items' own bits differ in chance; the worst report has the one and lacks the other."""
    for epsilon in (0.5, 2.0, 6.0):
        q = other(epsilon)
        worst = (KEPT * (1 - q)) / (q * (1 - KEPT))
        assert worst == pytest.approx(math.exp(epsilon))


def test_a_log_is_written_as_reported(tiny_data, tmp_path, one_document, run_command) -> None:
    told = one_document("randomize", tiny_data, "--to", tmp_path / "noisy.csv", "--epsilon", "1")
    rows = (tmp_path / "noisy.csv").read_text().splitlines()
    assert rows[0] == "user,item" and len(rows) == told["rows"] + 1 and told["users"] == 40
    expected = 40 * (0.5 + 31 * other(1.0))
    assert told["rows"] == pytest.approx(expected, abs=6 * math.sqrt(40 * 32 * 0.2))
    status, _, said = run_command("randomize", tiny_data, "--to", tmp_path / "noisy.csv", "--epsilon", "1")
    assert status == 2 and "there is something already" in said
    status, _, said = run_command("randomize", tiny_data, "--to", tmp_path / "more.csv", "--epsilon", "0")
    assert status == 2 and "randomize --epsilon: found 0.0; allowed: above 0, finite" in said
