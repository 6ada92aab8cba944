import itertools
import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from gnnrec import metrics

# Two users, lists of five. User 0 wants 3 items and finds them at ranks 1 and 4; user 1 wants 1, at rank 3.
HITS = np.array([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0]], dtype=bool)
RELEVANT = np.array([3, 1])
GAIN = [1 / math.log2(rank + 1) for rank in range(1, 6)]

BY_HAND = {
    ("recall", 2): (1 / 3, 0),
    ("recall", 5): (2 / 3, 1),
    ("precision", 2): (1 / 2, 0),
    ("precision", 5): (2 / 5, 1 / 5),
    ("hit", 2): (1, 0),
    ("hit", 5): (1, 1),
    ("ndcg", 2): (GAIN[0] / (GAIN[0] + GAIN[1]), 0),  # min(3, 2) hits would be ideal
    ("ndcg", 5): ((GAIN[0] + GAIN[3]) / (GAIN[0] + GAIN[1] + GAIN[2]), GAIN[2]),
    ("map", 2): (1 / 2, 0),  # (1/1) / min(3, 2)
    ("map", 5): ((1 / 1 + 2 / 4) / 3, 1 / 3),
    ("mrr", 2): (1, 0),
    ("mrr", 5): (1, 1 / 3),
}


@pytest.mark.parametrize(("name", "k"), BY_HAND)
def test_by_hand(name, k):
    assert metrics.METRICS[name](HITS, RELEVANT, k) == pytest.approx(BY_HAND[name, k])


def test_every_metric_has_a_value_by_hand():
    assert {name for name, _ in BY_HAND} == set(metrics.METRICS)


@pytest.fixture
def lists():
    """40 users, lists of 10 out of 30 items, one to eight relevant items each."""
    random = np.random.default_rng(0)
    items = np.stack([random.permutation(30)[:10] for _ in range(40)])
    relevant = np.zeros((40, 30), dtype=np.float32)
    for row in relevant:
        row[random.permutation(30)[: random.integers(1, 9)]] = 1
    return items, relevant


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("recall", "LinkPredRecall"),
        ("precision", "LinkPredPrecision"),
        ("hit", "LinkPredHitRatio"),
        ("ndcg", "LinkPredNDCG"),
        ("map", "LinkPredMAP"),
        ("mrr", "LinkPredMRR"),
    ],
)
def test_agrees_with_torch_geometric(lists, ours, theirs):
    import torch_geometric.metrics

    items, relevant = lists
    hits = metrics.hits_of(items, np.arange(40), csr_array(relevant))
    for k in (1, 5, 10):
        reference = getattr(torch_geometric.metrics, theirs)(k)
        reference.update(torch.from_numpy(items[:, :k]), torch.from_numpy(np.stack(relevant.nonzero())))
        value = metrics.METRICS[ours](hits, relevant.sum(1).astype(np.int64), k).mean()
        assert value == pytest.approx(float(reference.compute()), abs=1e-6)


def test_ndcg_agrees_with_scikit_learn(lists):
    from sklearn.metrics import ndcg_score

    items, relevant = lists
    score = np.zeros((40, 30))
    np.put_along_axis(score, items, np.arange(10, 0, -1, dtype=float)[None].repeat(40, 0), axis=1)
    hits = metrics.hits_of(items, np.arange(40), csr_array(relevant))
    ours = metrics.ndcg(hits, relevant.sum(1).astype(np.int64), 5)
    assert ours == pytest.approx([ndcg_score(relevant[[u]], score[[u]], k=5) for u in range(40)])


def test_hits_of_takes_no_item_for_a_miss_and_users_in_any_order(lists):
    items, relevant = lists
    items[:, 7:] = -1
    relevant[:, 29] = 1  # -1 must not be read as the last item
    users = np.array([5, 0, 39])
    hits = metrics.hits_of(items[users], users, csr_array(relevant))
    naive = [[item >= 0 and relevant[user, item] == 1 for item in items[user]] for user in users]
    assert hits.tolist() == naive


def test_accuracy_names():
    values = metrics.accuracy(HITS, RELEVANT, (2, 5))
    assert set(values) == {f"{name}@{k}" for name in metrics.METRICS for k in (2, 5)} | {"mrr"}
    assert values["mrr"].tolist() == values["mrr@5"].tolist()


ITEMS = np.array([[0, 1, 2], [0, 1, 3], [0, 2, -1]])


def test_coverage_and_gini_by_hand():
    assert metrics.exposure(ITEMS, 5).tolist() == [3, 2, 2, 1, 0]
    assert metrics.coverage(ITEMS, 5) == 4 / 5
    counts = [3, 2, 2, 1, 0]
    mean_gap = sum(abs(a - b) for a, b in itertools.product(counts, counts)) / 25
    assert metrics.gini(ITEMS, 5) == pytest.approx(mean_gap / (2 * sum(counts) / 5))
    assert metrics.gini(np.array([[0, 1], [2, 3]]), 4) == 0
    assert metrics.gini(np.array([[0], [0]]), 4) == pytest.approx(3 / 4)


def test_novelty_and_popularity_by_hand():
    popularity = np.array([8, 4, 2, 0, 1])
    bits = [0, 1, 2, 3]  # 8 users: -log2(8/8), (4/8), (2/8); an item nobody has counts as one user
    assert metrics.novelty(ITEMS, popularity, 8) == pytest.approx([(0 + 1 + 2) / 3, (0 + 1 + 3) / 3, (0 + 2) / 2])
    assert bits[3] == -math.log2(1 / 8)
    assert metrics.average_popularity(ITEMS, popularity) == pytest.approx([14 / 3, 12 / 3, 10 / 2])


def test_popularity_lift_by_hand():
    # Items have 2, 1, 1, 0 users. User 0 has items 0 and 1 (mean 1.5), user 1 items 0 and 2 (1.5), user 2 nothing.
    train = csr_array(np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], dtype=np.float32))
    lift = metrics.popularity_lift(np.array([[2, 3], [0, 0], [0, 1]]), np.array([0, 1, 2]), train)
    assert lift[:2] == pytest.approx([0.5 / 1.5 - 1, 2 / 1.5 - 1])
    assert np.isnan(lift[2])


def test_diversity_equals_the_mean_over_pairs():
    vectors = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    vectors[5] = 0  # no content: in no pair
    items = np.array([[0, 1, 2, 3], [4, 2, -1, -1], [0, 5, 1, -1], [3, -1, -1, -1], [5, 0, -1, -1]])
    unit = vectors[:5] / np.linalg.norm(vectors[:5], axis=1, keepdims=True)
    naive = []
    for row in items:
        pairs = list(itertools.combinations([item for item in row if 0 <= item < 5], 2))
        naive.append(np.mean([1 - unit[a] @ unit[b] for a, b in pairs]) if pairs else np.nan)
    assert metrics.diversity(items, vectors) == pytest.approx(naive, abs=1e-6, nan_ok=True)
