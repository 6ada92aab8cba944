"""The shortlist gives what a sort of the exact scores gives, whatever bfloat16 makes of them."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from gnnrec import ranking
from gnnrec.ranking import embedding_scorer, top_k
from gnnrec.shortlist import Shortlist

USERS, ITEMS, DIM = 70, 1000, 24


def expected(scores: np.ndarray, k: int) -> np.ndarray:
    """By descending score, then ascending index; -inf is nobody's."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    order[np.take_along_axis(scores, order, axis=1) == -np.inf] = -1
    return np.pad(order, ((0, 0), (0, k - order.shape[1])), constant_values=-1)


def integers(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings whose inner products float32 holds exactly and bfloat16 does not."""
    random = np.random.default_rng(0)
    user, item = random.integers(-400, 400, (USERS, DIM)), random.integers(-400, 400, (ITEMS, DIM))
    if kind == "clones":  # ties across the whole list
        item = item[random.integers(0, 40, ITEMS)]
    if kind == "near":  # bfloat16 takes almost all scores for equal
        user, item = np.full((USERS, DIM), 300), 300 + random.integers(0, 2, (ITEMS, DIM))
    if kind == "all negative":
        user, item = abs(user), -abs(item)
    if kind == "one long item":  # the bound is far too wide for the others
        item[7] *= 60
        user, item = user // 20, item // 2
    if kind == "zero":
        item = item * 0
    return torch.from_numpy(user).float(), torch.from_numpy(item).float()


@pytest.mark.parametrize("kind", ["random", "clones", "near", "all negative", "one long item", "zero"])
@pytest.mark.parametrize("threads", [1, 2])
def test_it_equals_a_sort_of_the_exact_scores(kind: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    user, item = integers(kind)
    random = np.random.default_rng(1)
    seen = random.random((USERS, ITEMS)) < 0.05
    seen[3] = True  # who has everything
    seen[4, 5:] = True
    candidates = random.random(ITEMS) < 0.7
    scores = np.where(seen | ~candidates, -np.inf, (user.double() @ item.double().T).numpy())
    monkeypatch.setattr(ranking, "MANY_SCORES", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for k, batch_size in ((1, None), (20, 33), (120, 7)):
            asked = random.permutation(USERS)
            found = top_k(
                embedding_scorer(user, item),
                asked,
                k,
                csr_array(seen.astype(np.float32)),
                candidates=candidates,
                batch_size=batch_size,
            )
            assert np.array_equal(found.items.numpy(), expected(scores[asked], k))
            assert torch.get_num_threads() == threads
            there = found.items.numpy() >= 0
            rows = np.broadcast_to(asked[:, None], there.shape)
            assert np.array_equal(found.scores.numpy()[there], scores[rows[there], found.items.numpy()[there]])
            assert (found.scores.numpy()[~there] == -np.inf).all()
    finally:
        torch.set_num_threads(before)


def test_it_agrees_with_float32_where_the_scores_are_of_every_size() -> None:
    random = torch.Generator().manual_seed(0)
    none = np.zeros(51, dtype=np.int64), np.zeros(0, dtype=np.int32)
    for scale in (1e-6, 1.0, 1e6):
        user = torch.randn(50, 64, generator=random) * scale
        item = torch.randn(3000, 64, generator=random) * torch.rand(3000, 1, generator=random).exp() ** 4
        (found,) = Shortlist(user, item).rank([torch.arange(50)], lambda users: none, None, 20)
        exact = (user.double() @ item.double().T).topk(20)
        assert torch.equal(found[1], exact.indices)
        torch.testing.assert_close(found[0], exact.values.float(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_where_something_is_not_finite_float32_decides(poison: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MANY_SCORES", 0)
    user, item = torch.ones(3, 2), torch.ones(300, 2)
    item[4, 1] = poison
    if poison < 0:  # nobody's item, as one that was seen
        assert (top_k(embedding_scorer(user, item), torch.arange(3), 2).items == torch.tensor([0, 1])).all()
    else:
        with pytest.raises(ValueError, match="NaN or infinite"):
            top_k(embedding_scorer(user, item), torch.arange(3), 2)
