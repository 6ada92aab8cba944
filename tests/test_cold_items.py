"""Cold items by folds, against a naive loop; and no row of a fold is known while its items are ranked."""

import numpy as np
import torch

from gnnrec.cold_items import cold_values, folds_of, without_items
from gnnrec.datasets import Split, planted, split


def test_folds_are_dealt_evenly_and_by_the_seed() -> None:
    folds = folds_of(23, 4, seed=1)
    assert sorted(np.bincount(folds).tolist()) == [5, 6, 6, 6]
    assert not np.array_equal(folds, folds_of(23, 4, seed=2))


def test_values_equal_a_naive_loop_and_no_cold_row_is_known() -> None:
    dataset = planted("text", num_users=30, num_items=25, cold_share=0.0)
    parts, log = split(dataset), dataset.interactions
    folds = folds_of(25, 5)
    scores = torch.rand(30, 25, generator=torch.Generator().manual_seed(0))
    asked: list[Split] = []

    def scorer_of(left: Split):
        asked.append(left)
        return lambda users: scores[users]

    users, values = cold_values(log, parts, scorer_of, metrics=("ndcg@10", "recall@10"), folds=folds)
    expected: dict[int, list[float]] = {}
    for fold in range(5):
        cold = np.flatnonzero(folds == fold)
        for part in (asked[fold].train, asked[fold].val):
            assert not np.isin(part.item, cold).any()
        assert len(asked[fold].train) == (~np.isin(parts.train.item, cold)).sum() and not len(asked[fold].test)
        for user in range(30):
            wanted = set(log.item[log.user == user]) & set(cold)
            if wanted:
                order = cold[np.argsort(-scores[user, cold].numpy())][:10]
                gain = sum(1 / np.log2(2 + place) for place, item in enumerate(order) if item in wanted)
                best = sum(1 / np.log2(2 + place) for place in range(min(len(wanted), 10)))
                expected.setdefault(user, []).append(gain / best)
    assert users.tolist() == sorted(expected)
    np.testing.assert_allclose(values["ndcg@10"], [np.mean(expected[user]) for user in users])
    assert (values["recall@10"] == 1).all()  # a fold has five items


def test_items_without_rows_take_nothing_else_along() -> None:
    parts = split(planted("text", num_users=30, num_items=25))
    gone = np.arange(25) == int(parts.train.item[0])
    left = without_items(parts, gone)
    kept = parts.train.rows(parts.train.item != parts.train.item[0])
    assert np.array_equal(left.train.item, kept.item) and np.array_equal(left.train.user, kept.user)
