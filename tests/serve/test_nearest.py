"""The best items by inner product are those of a plain sort without what is hidden; FAISS answers above a limit."""

import numpy as np

from gnnrec.serve.nearest import Nearest, alike


def by_sorting(vectors, query, hidden, size):
    scores = vectors @ query
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))
    return [item for item in order if item not in set(hidden.tolist())][:size]


def test_lists_are_those_of_a_plain_sort():
    random = np.random.default_rng(0)
    vectors = random.integers(-3, 4, (90, 4)).astype(np.float32)  # whole numbers: many scores are equal
    queries = random.integers(-3, 4, (12, 4)).astype(np.float32)
    hidden = [
        random.choice(90, size, replace=False).astype(np.int32) for size in (0, 1, 5, 80, 90, 3, 0, 0, 2, 7, 9, 30)
    ]
    sizes = [1, 10, 90, 10, 5, 100, 3, 7, 90, 11, 2, 60]
    found = Nearest(vectors).best(queries, hidden, sizes)
    for best, query, gone, size in zip(found, queries, hidden, sizes):
        expected = by_sorting(vectors, query, gone, size)
        scores = [score for _, score in best]
        assert len(best) == len(expected) and scores == sorted(scores, reverse=True)
        assert scores == [float(vectors[item] @ query) for item in expected]
        assert [item for item, _ in best] == expected


def test_long_catalogues_are_cut_by_the_maxima_of_blocks():
    random = np.random.default_rng(1)
    vectors = random.integers(-9, 10, (5003, 3)).astype(np.float32)
    queries = random.integers(-9, 10, (6, 3)).astype(np.float32)
    hidden = [random.choice(5003, size, replace=False).astype(np.int32) for size in (0, 40, 10, 1, 0, 100)]
    for best, query, gone in zip(Nearest(vectors).best(queries, hidden, [20] * 6), queries, hidden):
        assert [item for item, _ in best] == by_sorting(vectors, query, gone, 20)


def test_of_equal_scores_the_lowest_index_is_first():
    vectors = np.array([[1.0], [2.0], [1.0], [2.0], [0.0]], dtype=np.float32)
    (best,) = Nearest(vectors).best(np.ones((1, 1), dtype=np.float32), [np.zeros(0, dtype=np.int32)], [5])
    assert best == [(1, 2.0), (3, 2.0), (0, 1.0), (2, 1.0), (4, 0.0)]


def test_above_the_limit_an_index_finds_nearly_the_same():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(2000, 8)).astype(np.float32)
    queries = random.normal(size=(20, 8)).astype(np.float32)
    hidden, sizes = [np.arange(5, dtype=np.int32)] * 20, [10] * 20
    large = Nearest(vectors, flat_limit=1999)
    assert large.index is not None and Nearest(vectors, flat_limit=2000).index is None
    exact = Nearest(vectors).best(queries, hidden, sizes)
    found = large.best(queries, hidden, sizes)
    overlap = [len({i for i, _ in a} & {i for i, _ in b}) / 10 for a, b in zip(exact, found)]
    assert np.mean(overlap) > 0.5
    for best, query in zip(found, queries):
        np.testing.assert_allclose([score for _, score in best], [vectors[item] @ query for item, _ in best], rtol=1e-4)
        assert min(item for item, _ in best) >= 5


def test_alike_has_each_pair_once():
    rows = np.array([[2, 0], [0, 3], [1, 1], [-1, 0]], dtype=np.float32)
    assert alike(rows) == [[], [0], [71, 71], [-100, 0, -71]]
