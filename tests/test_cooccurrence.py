"""Neighbours of items and their Gram matrices against dense products."""

import numpy as np
from scipy.sparse import csr_array

from gnnrec.cooccurrence import grams, nearest

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.random((40, 12)) * (RANDOM.random((40, 12)) < 0.3)
ROWS[:, 11] = 0  # shares nothing with anybody
TARGET = (RANDOM.random((40, 12)) < 0.2).astype(np.float32)


def test_neighbours_are_those_with_the_largest_cosine() -> None:
    rows = ROWS.astype(np.float32)
    near, common = nearest(csr_array(rows), csr_array(TARGET), np.arange(12), 4, own=True)
    inner = rows.T @ TARGET  # [source, target]
    cosine = inner / np.maximum(np.linalg.norm(rows, axis=0), 1e-6)[:, None]
    for item in range(12):
        expected = [other for other in np.argsort(-cosine[:, item], kind="stable")[:4] if cosine[other, item] > 0]
        assert near[item, : len(expected)].tolist() == expected
        np.testing.assert_allclose(common[item, : len(expected)], inner[expected, item], rtol=1e-5)
        assert (near[item, len(expected) :] == -1).all()


def test_an_item_is_no_neighbour_of_its_own_where_that_is_asked() -> None:
    rows = csr_array((ROWS > 0).astype(np.float32))
    near, _ = nearest(rows, rows, np.array([3, 0, 11]), 12, own=False)
    assert 3 not in near[0] and 0 not in near[1]
    assert (near[2] == -1).all()
    with_itself, _ = nearest(rows, rows, np.array([3]), 12, own=True)
    assert set(with_itself[0]) - set(near[0]) == {3}


def test_equal_cosines_stand_in_the_order_of_the_items() -> None:
    rows = csr_array(np.ones((3, 5), np.float32))
    near, _ = nearest(rows, rows, np.array([2]), 3, own=False)
    assert near.tolist() == [[0, 1, 3]]


def test_grams_are_the_lower_triangles_of_the_dense_products() -> None:
    near = np.array([[4, 0, 7], [2, -1, -1]])
    found = grams(csr_array(ROWS.astype(np.float32)).tocsc(), near)
    dense = ROWS.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(found[0], np.tril(dense[:, near[0]].T @ dense[:, near[0]]), rtol=1e-6)
    assert np.isclose(found[1, 0, 0], (dense[:, 2] ** 2).sum())
    assert (found[1, 1:] == 0).all()
