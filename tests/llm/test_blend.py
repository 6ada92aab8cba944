"""Bounds on what the language model may do to an order (G1, G4, G6, G16)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec.llm.blend import blended, bounded_order, standardized


def test_scores_are_blended_in_units_of_their_own_spread() -> None:
    base, judged = np.array([3.0, 2.0, 1.0]), np.array([-10.0, np.nan, 10.0])
    half = np.sqrt(1.5)
    assert standardized(base) == pytest.approx([half, 0, -half])
    assert standardized(judged) == pytest.approx([-1, 0, 1])  # what is unknown stands at the mean
    assert blended(base, judged, 0.5) == pytest.approx([half - 0.5, 0, 0.5 - half])


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("judged", [[np.nan] * 3, [4.0, 4.0, 4.0], [np.nan, 1.0, np.nan]])
def test_what_says_nothing_changes_nothing(judged: list[float]) -> None:
    base = np.array([3.0, 2.0, 1.0])
    assert blended(base, np.array(judged), 5.0) == pytest.approx(standardized(base))


@pytest.mark.guarantee("G6")
def test_nothing_rises_by_more_than_the_cap() -> None:
    total = np.array([0.0, 1, 2, 3, 4, 5])
    assert bounded_order(total, 5).tolist() == [5, 4, 3, 2, 1, 0]
    assert bounded_order(total, 2).tolist() == [2, 3, 4, 5, 1, 0]
    assert bounded_order(total, 1).tolist() == [1, 2, 3, 4, 5, 0]
    assert bounded_order(total[::-1], 2).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.guarantee("G16")
def test_near_ties_keep_the_order() -> None:
    assert bounded_order(np.array([1.0, 1.0, 1.0]), 2).tolist() == [0, 1, 2]
    assert bounded_order(np.array([1.0, 1.04, 2.0]), 2, margin=0.06).tolist() == [2, 0, 1]


@pytest.mark.guarantee("G1", "G6")
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(1, 30), st.floats(0, 10))
def test_an_order_is_a_permutation_within_the_cap(total: list[float], cap: int, margin: float) -> None:
    order = bounded_order(np.array(total), cap, margin).tolist()
    assert sorted(order) == list(range(len(total)))
    assert all(item - place <= cap for place, item in enumerate(order))


@pytest.mark.guarantee("G6")
@given(st.integers(0, 19), st.floats(0, 1e9))
def test_a_text_that_scores_anything_wins_the_cap_at_most(attacker: int, boost: float) -> None:
    base = np.linspace(1, 0, 20)
    judged = np.zeros(20)
    judged[attacker] = boost
    order = bounded_order(blended(base, judged, 1.0), 5).tolist()
    assert order.index(attacker) >= attacker - 5
