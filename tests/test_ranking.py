import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from gnnrec.ranking import embedding_scorer, top_k


def naive(scores, users, k, seen=None, candidates=None):
    """One user after the other, sorted by (-score, index) with Python's own sort."""
    lists = []
    for row, user in enumerate(users):
        allowed = [
            item
            for item in range(scores.shape[1])
            if (seen is None or not seen[user, item]) and (candidates is None or candidates[item])
        ]
        best = sorted(allowed, key=lambda item: (-scores[row, item], item))[:k]
        lists.append(best + [-1] * (k - len(best)))
    return np.array(lists)


@pytest.mark.parametrize("levels", [3, 50, 10**9])  # few distinct scores: many ties, across the cut too
@pytest.mark.parametrize("k", [1, 7, 60, 80])  # 60 of 60 items, and more than there are
def test_top_k_equals_a_sort_in_python(levels, k):
    random = np.random.default_rng(levels + k)
    scores = random.integers(0, levels, size=(40, 60)).astype(np.float32)
    seen = random.random((40, 60)) < 0.3
    candidates = random.random(60) < 0.8
    users = random.permutation(40)[:25]
    seen[users[0]] = True  # a user who has everything
    table = torch.from_numpy(scores)
    ranking = top_k(
        lambda batch: table[batch], users, k, csr_array(seen.astype(np.float32)), candidates=candidates, batch_size=4
    )
    expected = naive(scores[users], users, k, seen, candidates)
    assert np.array_equal(ranking.items.numpy(), expected)
    assert ranking.users.tolist() == users.tolist()
    there = expected >= 0
    rows = np.broadcast_to(users[:, None], expected.shape)
    assert np.array_equal(ranking.scores.numpy()[there], scores[rows[there], expected[there]])
    assert np.all(ranking.scores.numpy()[~there] == -np.inf)
    assert not there[0].any()


def test_the_first_places_do_not_depend_on_k_or_batch_size():
    table = torch.randint(0, 4, (30, 500), generator=torch.Generator().manual_seed(0)).float()
    users = torch.arange(30)
    long = top_k(lambda batch: table[batch], users, 100).items
    for k, batch_size in ((5, 1), (20, 7), (99, None)):
        assert torch.equal(top_k(lambda batch: table[batch], users, k, batch_size=batch_size).items, long[:, :k])


def test_popularity_ties_at_the_cut_give_the_lowest_indexes():
    popularity = torch.tensor([1.0, 2.0, 1.0, 3.0, 1.0, 1.0])
    ranking = top_k(lambda batch: popularity.repeat(len(batch), 1), torch.tensor([0]), 4)
    assert ranking.items.tolist() == [[3, 1, 0, 2]]


def test_embedding_scorer_is_the_inner_product_and_leaves_the_embeddings_alone():
    user = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    item = torch.tensor([[3.0, 5.0], [4.0, 1.0], [0.0, 0.0]], requires_grad=True)
    score = embedding_scorer(user, item)
    assert score(torch.tensor([1, 0])).tolist() == [[10.0, 2.0, 0.0], [3.0, 4.0, 0.0]]
    seen = csr_array(np.array([[0, 1, 0], [0, 0, 0]], dtype=np.float32))
    ranking = top_k(score, torch.tensor([0, 1]), 2, seen)
    assert ranking.items.tolist() == [[0, 2], [0, 1]]
    assert ranking.scores.tolist() == [[3.0, 0.0], [10.0, 2.0]]
    assert not ranking.scores.requires_grad
    assert item.tolist() == [[3.0, 5.0], [4.0, 1.0], [0.0, 0.0]]


def test_nan_scores_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        top_k(lambda batch: torch.tensor([[1.0, float("nan"), 0.0]]), torch.tensor([0]), 1)


def test_nobody_asked():
    ranking = top_k(lambda batch: torch.zeros(len(batch), 3), torch.tensor([], dtype=torch.int64), 2)
    assert ranking.items.shape == ranking.scores.shape == (0, 2)
