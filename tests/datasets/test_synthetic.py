import numpy as np
import pytest

from gnnrec.datasets import SplitConfig, planted, powerlaw, split
from gnnrec.errors import UserError


def purity(features: np.ndarray, dataset_train) -> float:
    """Mean squared distance of pairs liked by the same user over that of all pairs: far below 1 only for the cause."""
    item, user = dataset_train.item, dataset_train.user
    same = np.mean(
        [features[item[user == one]].var(axis=0).sum() for one in np.unique(user) if (user == one).sum() > 2]
    )
    return float(same / features[np.unique(item)].var(axis=0).sum())


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_only_the_planted_modality_tells_what_a_user_likes(modality):
    dataset = planted(modality, 120, 200, seed=3)
    spread = {name: purity(values, split(dataset).train) for name, values in dataset.item_features.items()}
    assert spread[modality] < 0.2
    assert all(value > 0.6 for name, value in spread.items() if name != modality)


def test_cold_items_are_in_test_only():
    dataset = planted("audio", 120, 200, seed=1, cold_share=0.25)
    cut = split(dataset)
    trained = np.union1d(cut.train.item, cut.val.item)
    assert len(np.setdiff1d(cut.test.item, trained)) == 50
    assert len(cut.val) > 100


def test_same_seed_same_data_and_unknown_modality():
    one, two, other = (planted("text", 20, 30, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.interactions.item, two.interactions.item)
    assert not np.array_equal(one.item_features["text"], other.item_features["text"])
    with pytest.raises(UserError, match="'smell'; allowed: text, image, audio"):
        planted("smell")


def test_powerlaw_has_the_size_asked_for_and_a_long_tail():
    dataset = powerlaw(2_000, 1_000, 30_000, seed=0)
    log = dataset.interactions
    counts = np.sort(np.bincount(log.item, minlength=1_000))[::-1]
    assert len(log) == 30_000 == log.matrix().nnz
    assert counts[:100].sum() > 2 * counts[-500:].sum()
    assert len(split(dataset, SplitConfig(method="leave_last")).test) > 1_000
    with pytest.raises(UserError, match="a quarter"):
        powerlaw(10, 10, 100)
