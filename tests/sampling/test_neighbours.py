"""Sampled neighbours: who is drawn how often, who never is, and the files that they are read from."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from gnnrec.errors import UserError
from gnnrec.sampling.csr import CSR, build_csr, open_csr
from gnnrec.sampling.neighbours import LocalNodes, degrees_before, sample_rows
from gnnrec.sampling.visits import visited


def one_row(length: int, time: np.ndarray | None = None) -> CSR:
    """An empty row, one of the given length, and one of two entries."""
    offsets = np.array([0, 0, length, length + 2])
    return CSR(offsets, np.arange(length + 2, dtype=np.int32), length + 2, time)


@pytest.mark.parametrize("fanout", [1, 3, 11])
def test_every_set_of_neighbours_comes_as_often_as_it_should(fanout: int) -> None:
    """Each of 12 is kept in fanout / 12 of all samples, and each pair as often as the hypergeometric law says."""
    csr, random, rounds = one_row(12), np.random.default_rng(0), 20_000
    rows = np.full(rounds, 1)
    sample = sample_rows(csr, rows, fanout, random)
    drawn = sample.entries.reshape(rounds, fanout)
    assert np.all(np.diff(np.sort(drawn, axis=1), axis=1) > 0)  # none twice
    once = np.bincount(drawn.ravel(), minlength=12)
    # Counts of a draw without replacement vary by (1 - fanout / 12) of what the statistic supposes.
    share = fanout / 12
    statistic = ((once - rounds * share) ** 2 / (rounds * share * (1 - share))).sum() * 11 / 12
    assert statistic < chi2.ppf(0.999, 11)
    kept = np.zeros((rounds, 12))
    np.put_along_axis(kept, drawn, 1, axis=1)
    pairs = (kept.T @ kept / rounds)[np.triu_indices(12, 1)]
    expected = share * (fanout - 1) / 11
    assert np.abs(pairs - expected).max() < 4.5 * np.sqrt(max(expected * (1 - expected), 1e-9) / rounds)


def test_short_rows_give_all_and_weights_are_one_over_the_probability() -> None:
    csr = one_row(12)
    sample = sample_rows(csr, np.array([2, 0, 1, 1]), 3, np.random.default_rng(0))
    assert sample.bounds.tolist() == [0, 2, 2, 5, 8] and sample.degrees.tolist() == [2, 0, 12, 12]
    assert sample.entries[:2].tolist() == [12, 13]
    np.testing.assert_allclose(sample.scale(), [1, 1, 4, 4, 4, 4, 4, 4])
    everything = sample_rows(csr, np.array([1]), 0, np.random.default_rng(0))
    assert everything.entries.tolist() == list(range(12))
    again = sample_rows(csr, np.array([2, 0, 1, 1]), 3, np.random.default_rng(0))
    assert np.array_equal(again.entries, sample.entries)


def test_nothing_of_the_time_of_the_limit_or_later_is_ever_drawn() -> None:
    random = np.random.default_rng(0)
    degree = random.integers(0, 30, 200)
    offsets = np.concatenate([[0], degree.cumsum()])
    time = np.concatenate([np.sort(random.integers(0, 20, size)) for size in degree])
    csr = CSR(offsets, random.integers(0, 50, len(time)).astype(np.int32), 50, time)
    rows, before = random.integers(0, 200, 3_000), random.integers(0, 22, 3_000)
    sample = sample_rows(csr, rows, 5, random, before)
    row_of = np.repeat(np.arange(len(rows)), np.diff(sample.bounds))
    assert len(row_of) > 5_000 and np.all(csr.time[sample.entries] < before[row_of])
    assert np.all((sample.entries >= offsets[rows[row_of]]) & (sample.entries < offsets[rows[row_of] + 1]))
    earlier = [np.sum(time[offsets[row] : offsets[row + 1]] < limit) for row, limit in zip(rows, before)]
    assert sample.degrees.tolist() == earlier
    assert np.diff(sample.bounds).tolist() == np.minimum(earlier, 5).tolist()  # nothing earlier is left out
    assert degrees_before(csr, rows[:50], 7).tolist() == [
        np.sum(time[offsets[row] : offsets[row + 1]] < 7) for row in rows[:50]
    ]
    with pytest.raises(ValueError, match="times"):
        sample_rows(csr._replace(time=None), rows, 5, random, before)


def test_short_names_follow_the_order_of_meeting() -> None:
    nodes = LocalNodes(100)
    assert nodes.add(np.array([70, 3, 70])).tolist() == [0, 1, 0]
    assert nodes.add(np.array([3, 99, 0])).tolist() == [1, 2, 3]
    assert nodes.nodes().tolist() == [70, 3, 99, 0] and nodes.count == 4
    nodes.forget()
    assert nodes.add(np.array([0, 70])).tolist() == [0, 1]


def test_visits_are_those_of_a_naive_walk() -> None:
    """The shares of visits of long walks are those of the walk's exact distribution, solved for."""
    random = np.random.default_rng(1)
    matrix = (random.random((7, 5)) < 0.6).astype(float)  # users by items
    matrix[:, 0] = 1
    matrix[0] = 1

    def csr(dense: np.ndarray) -> CSR:
        rows, columns = np.nonzero(dense)
        offsets = np.concatenate([[0], np.bincount(rows, minlength=len(dense)).cumsum()])
        return CSR(offsets, columns.astype(np.int32), dense.shape[1])

    steps, restart = 200_000, 0.3
    items = np.arange(5)
    near, counts = visited(csr(matrix.T), csr(matrix), items, 4, steps, restart, seed=0)
    step = (matrix.T / matrix.sum(0)[:, None]) @ (matrix / matrix.sum(1)[:, None])  # item -> item
    # Where a step goes from: the origin after a restart, else where the last one went to.
    for origin in items:
        start = np.eye(5)[origin]
        share = np.linalg.solve(np.eye(5) - (1 - restart) * step.T, restart * step.T @ start)
        assert sorted(near[origin].tolist()) == [item for item in items if item != origin]
        np.testing.assert_allclose(counts[origin] / steps, share[near[origin]], atol=0.006)
        assert np.all(np.diff(counts[origin]) <= 0)
    alone = visited(csr(matrix.T), csr(matrix), np.array([3]), 4, steps, restart, seed=0)
    assert np.array_equal(alone[1][0], counts[3])  # a walk does not depend on its block


def test_files_hold_the_edges_in_order_and_say_what_is_wrong(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    row, column, time = random.integers(0, 9, 500), random.integers(0, 4, 500), np.sort(random.integers(0, 99, 500))

    def blocks():
        return ((row[at : at + 70], column[at : at + 70], time[at : at + 70]) for at in range(0, 500, 70))

    csr = build_csr(blocks, 9, 4, tmp_path / "graph")
    assert isinstance(csr.columns, np.memmap) and (csr.num_rows, csr.num_columns) == (9, 4)
    for node in range(9):
        part = slice(csr.offsets[node], csr.offsets[node + 1])
        assert csr.columns[part].tolist() == column[row == node].tolist()
        assert csr.time[part].tolist() == time[row == node].tolist()
    assert np.array_equal(open_csr(tmp_path / "graph").columns, csr.columns)
    with pytest.raises(UserError, match="row index outside 0..3"):
        build_csr(blocks, 4, 4, tmp_path / "wrong")
    with pytest.raises(UserError, match="order of time"):
        build_csr(lambda: [(row, column, time[::-1])], 9, 4, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
    np.save(tmp_path / "graph" / "columns.npy", np.zeros(3, np.int32))
    with pytest.raises(UserError, match="damaged graph files: 3 columns for 500 entries"):
        open_csr(tmp_path / "graph")
