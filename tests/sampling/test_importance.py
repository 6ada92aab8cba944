"""Neighbours by visits: closed forms of the walks, whom they rank first, and what is heard from them."""

import numpy as np
import pytest

from gnnrec.sampling import importance
from gnnrec.sampling.csr import CSR
from gnnrec.sampling.edges import SampledEdges, sampled_edges
from gnnrec.sampling.importance import Visited, visited_rows


def csr(dense: np.ndarray, time: np.ndarray | None = None) -> CSR:
    """Entries of a row in the order of time."""
    rows, columns = np.nonzero(dense)
    offsets = np.concatenate([[0], np.bincount(rows, minlength=len(dense)).cumsum()])
    if time is None:
        return CSR(offsets, columns.astype(np.int32), dense.shape[1])
    order = np.lexsort((time[rows, columns], rows))
    rows, columns = rows[order], columns[order]
    return CSR(offsets, columns.astype(np.int32), dense.shape[1], time[rows, columns])


def exact_shares(dense: np.ndarray, restart: float) -> np.ndarray:
    """[N, M] of the visits of endless walks from each row, solved for: r (1 - (1 - restart) C R)^-1 restart."""
    to_column = dense / dense.sum(1)[:, None]
    to_row = dense.T / dense.sum(0)[:, None]
    return restart * to_column @ np.linalg.inv(np.eye(dense.shape[1]) - (1 - restart) * to_row @ to_column)


def problem() -> np.ndarray:
    dense = (np.random.default_rng(1).random((7, 5)) < 0.5).astype(float)
    dense[:, 0], dense[0] = 1, 1
    return dense


def test_shares_of_long_walks_are_those_solved_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "STEPS", 40_000)
    dense = problem()
    exact = exact_shares(dense, importance.RESTART)
    sample = visited_rows(csr(dense), csr(dense.T), np.arange(7), 5, np.random.default_rng(0))
    assert np.any(exact[dense == 0] > 0.02)  # of items that a row has no edge with, too
    for row in range(7):
        part = slice(sample.bounds[row], sample.bounds[row + 1])
        assert sorted(sample.columns[part].tolist()) == [0, 1, 2, 3, 4]
        assert sample.counts[part].sum() == 200_000 and np.all(np.diff(sample.counts[part]) <= 0)
        np.testing.assert_allclose(sample.counts[part] / 200_000, exact[row, sample.columns[part]], atol=0.006)
        first, second, third = np.argsort(-exact[row])[:3]
        if exact[row, second] > exact[row, third] + 0.02:  # no close call
            few = visited_rows(csr(dense), csr(dense.T), np.array([row]), 2, np.random.default_rng(0)).columns
            assert set(few.tolist()) == {first, second}


def test_a_star_is_known_without_a_computer() -> None:
    """Row 0 has column 0 alone, whose rows are 0 and 1; row 1 has column 1, too. A walk of row 0 comes from column 0 to
    column 1 with 1/2 (no restart) 1/2 (row 1) 1/2 (column 1) = 1/8, and from column 1 to it again with 1/2 1/2 = 1/4.
    So the share x of column 1 is x = 1/8 (1 - x) + 1/4 x, which is 1/7."""
    dense = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(exact_shares(dense, 0.5)[0], [6 / 7, 1 / 7])
    rounds = 3_000
    sample = visited_rows(csr(dense), csr(dense.T), np.zeros(rounds, np.int64), 2, np.random.default_rng(0))
    share = sample.counts[sample.columns == 1].sum() / (rounds * 2 * importance.STEPS)
    # Short walks begin at the origin: of 40 steps the first few see less of column 1 than the fixed point says.
    assert abs(share - 1 / 7) < 0.01


def test_the_same_seed_gives_the_same_neighbours_and_an_empty_row_none() -> None:
    dense = problem()
    dense[3] = 0
    first, again, other = (
        visited_rows(csr(dense), csr(dense.T), np.array([3, 0, 3, 5]), 3, np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first.counts, other.counts)
    assert first.bounds.tolist()[:2] == [0, 0] and first.bounds[2] == first.bounds[3] == 3
    assert first.degrees.tolist() == [0, 5, 0, int(dense[5].sum())]
    assert len(first.columns) <= 4 * 3  # memory is bounded by what is kept
    with pytest.raises(ValueError, match="found 0 neighbours by importance; allowed: 1 or more"):
        visited_rows(csr(dense), csr(dense.T), np.array([0]), 0, np.random.default_rng(0))


def operator_of(sample: Visited, num_columns: int, column_degree: np.ndarray, how: str) -> np.ndarray:
    edges: SampledEdges = sampled_edges(
        CSR(np.zeros(1, np.int64), np.zeros(0, np.int32), num_columns),
        [sample],
        [sample.columns.astype(np.int32)],
        sample.degrees.astype(np.float32),
        column_degree.astype(np.float32),
    )
    made = edges.operator(how)
    dense = np.zeros(made.shape)
    for row in range(made.shape[0]):
        for entry in range(int(made.offsets[row]), int(made.offsets[row + 1])):
            dense[row, int(made.columns[entry])] += float(made.values[entry])
    return dense


def test_what_is_heard_is_weighed_by_visits() -> None:
    counts, degrees = np.array([6, 2, 5]), np.array([4, 0, 9])
    sample = Visited(np.array([0, 2, 2, 3]), np.array([1, 0, 2]), counts, degrees)
    column_degree = np.array([4.0, 1.0, 9.0])
    mean = operator_of(sample, 3, column_degree, "mean")
    np.testing.assert_allclose(mean, [[0.25, 0.75, 0], [0, 0, 0], [0, 0, 1]], atol=1e-6)
    symmetric = operator_of(sample, 3, column_degree, "symmetric")
    np.testing.assert_allclose(symmetric, [[0.25, 1.5, 0], [0, 0, 0], [0, 0, 1]], atol=1e-6)


def test_where_all_visits_are_alike_the_weights_are_those_of_the_whole_graph() -> None:
    dense = problem()
    bounds = np.concatenate([[0], dense.sum(1).astype(int).cumsum()])
    columns = np.nonzero(dense)[1]
    sample = Visited(bounds, columns, np.full(len(columns), 7), dense.sum(1).astype(int))
    degrees = dense.sum(0)
    for how, exact in (
        ("symmetric", dense / np.sqrt(np.outer(dense.sum(1), degrees))),
        ("mean", dense / dense.sum(1)[:, None]),
        ("none", dense),
    ):
        np.testing.assert_allclose(operator_of(sample, 5, degrees, how), exact, atol=1e-6)


def test_walks_never_take_what_came_later() -> None:
    """Two groups joined by a late edge alone: before it walks stay at home, after it they cross."""
    dense = np.zeros((4, 4))
    dense[:2, :2], dense[2:, 2:], dense[1, 2] = 1, 1, 1
    time = np.zeros((4, 4), np.int64)
    time[1, 2] = 9
    both = csr(dense, time), csr(dense.T, time.T)
    for limit, met in ((9, {0, 1}), (10, {0, 1, 2, 3})):
        sample = visited_rows(*both, np.full(20, 0), 4, np.random.default_rng(0), np.full(20, limit))
        assert set(sample.columns.tolist()) == met
        assert sample.degrees.tolist() == [2] * 20
    nothing = visited_rows(*both, np.array([0]), 4, np.random.default_rng(0), np.array([0]))
    assert nothing.bounds.tolist() == [0, 0] and nothing.degrees.tolist() == [0]
    with pytest.raises(ValueError, match="times"):
        visited_rows(both[0]._replace(time=None), both[1], np.array([0]), 4, np.random.default_rng(0), np.array([1]))
