import json

import numpy as np
import pytest
import torch

from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError
from gnnrec.evaluation import bootstrap, evaluate_ranking, popularity_groups


def log(pairs, num_users, num_items):
    user, item = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    return Interactions(user=user, item=item, num_users=num_users, num_items=num_items)


# Four users, six items. Scores fall with the index, so that the list of a user is every unseen item in index order.
TRAIN = log([(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)], 4, 6)
TEST = log([(0, 2), (0, 5), (1, 1), (3, 4), (3, 4)], 4, 6)  # a repeated row counts once


def falling(users):
    return torch.arange(6, 0, -1).float().repeat(len(users), 1)


@pytest.fixture
def evaluation():
    masks = {"text": np.array([1, 1, 1, 1, 0, 0], dtype=bool)}
    vectors = torch.eye(6)
    return evaluate_ranking(
        falling, relevant=TEST, train=TRAIN, seen=TRAIN, ks=(1, 3), item_vectors=vectors, modality_masks=masks
    )


def test_metrics_by_hand(evaluation):
    # Lists: user 0: 2 3 4; user 1: 1 2 3; user 3: 0 1 2. User 2 has no positive and does not count.
    assert evaluation.users.tolist() == [0, 1, 3]
    assert evaluation.per_user["recall@3"].tolist() == [0.5, 1, 0]
    assert evaluation.metrics["recall@3"] == pytest.approx(1.5 / 3)
    assert evaluation.metrics["precision@1"] == pytest.approx(2 / 3)
    assert evaluation.metrics["ndcg@1"] == pytest.approx(2 / 3)
    assert evaluation.metrics["mrr"] == pytest.approx(2 / 3)


def test_cohorts_by_hand(evaluation):
    activity = evaluation.cohorts["user_activity"]
    assert {name: group["users"] for name, group in activity.items()} == {
        "none (0)": 1,
        "low (1-1)": 1,
        "high (2-2)": 1,
    }
    assert activity["high (2-2)"]["recall@3"] == 0.5
    # Item 0 has 3 of 6 train interactions, item 1 the next 2, item 2 the last.
    popularity = evaluation.cohorts["item_popularity"]
    assert [popularity[name]["items"] for name in ("head", "mid", "tail")] == [1, 1, 1]
    assert popularity["head"]["users"] == 0  # nobody wants item 0
    assert popularity["mid"]["recall@1"] == 1  # item 1, of user 1
    assert popularity["tail"]["recall@1"] == 1  # item 2, of user 0
    cold = evaluation.cohorts["cold_items"]  # items 3, 4, 5; user 0 wants 5, user 3 wants 4
    assert (cold["items"], cold["users"], cold["recall@3"]) == (3, 2, 0)
    assert cold["among_cold"]["recall@3"] == 1  # 3 4 5 are all there is
    assert cold["among_cold"]["recall@1"] == 0
    assert cold["among_cold"]["ndcg@3"] == pytest.approx((1 / 2 + 1 / np.log2(3)) / 2)
    text = evaluation.cohorts["missing_modality"]["text"]
    assert (text["has"]["users"], text["has"]["recall@3"]) == (2, 1)
    assert (text["lacks"]["items"], text["lacks"]["users"], text["lacks"]["recall@3"]) == (2, 2, 0)


def test_beyond_accuracy_by_hand(evaluation):
    assert evaluation.beyond["coverage@3"] == pytest.approx(5 / 6)  # 0 to 4
    assert evaluation.beyond["diversity@3"] == pytest.approx(1)  # the vectors stand at right angles
    assert "diversity@1" not in evaluation.beyond  # no pair in a list of one
    # Popularity 3 2 1 0 0 0 over lists 2 3 4 | 1 2 3 | 0 1 2.
    assert evaluation.beyond["popularity@3"] == pytest.approx((1 / 3 + 3 / 3 + 6 / 3) / 3)
    # Histories: user 0 has 0 and 1 (mean 2.5), user 1 has 0 (mean 3), user 3 none.
    assert evaluation.beyond["popularity_lift@3"] == pytest.approx((1 / 3 / 2.5 + 1 / 3) / 2 - 1)


def test_json_has_the_promised_shape(evaluation):
    document = json.loads(json.dumps(evaluation.to_json("test"), allow_nan=False))
    assert (document["split"], document["users"]) == ("test", 3)
    assert set(document) == {"split", "users", "candidates", "metrics", "confidence", "cohorts", "beyond"}
    assert set(document["confidence"]) == set(document["metrics"])


def test_masked_positives_and_other_users_do_not_count():
    again = log([(0, 0), (0, 2), (1, 1)], 4, 6)  # user 0 has item 0 already
    evaluation = evaluate_ranking(
        falling, relevant=again, train=TRAIN, seen=TRAIN, ks=(1,), users=np.array([0]), resamples=0
    )
    assert evaluation.users.tolist() == [0]
    assert evaluation.per_user["recall@1"].tolist() == [1]
    assert evaluation.confidence == {}


def test_nothing_masked_without_seen():
    evaluation = evaluate_ranking(falling, relevant=TEST, train=TRAIN, seen=None, ks=(3,))
    assert evaluation.per_user["recall@3"].tolist() == [0.5, 1, 0]  # lists are 0 1 2 for all


def test_candidates_restrict_lists_and_positives():
    cold = np.array([0, 0, 0, 1, 1, 1], dtype=bool)
    evaluation = evaluate_ranking(falling, relevant=TEST, train=TRAIN, seen=TRAIN, ks=(2,), candidates=cold)
    assert evaluation.users.tolist() == [0, 3]
    assert evaluation.per_user["recall@2"].tolist() == [0, 1]
    assert evaluation.cohorts["cold_items"]["among_cold"]["recall@2"] == evaluation.metrics["recall@2"]


def test_an_empty_split_is_a_user_error():
    with pytest.raises(UserError, match="no user has an unseen positive"):
        evaluate_ranking(falling, relevant=log([], 4, 6), train=TRAIN, seen=None)


def test_popularity_groups_share_the_interactions():
    random = np.random.default_rng(0)
    pairs = np.stack([random.integers(0, 300, 5000), (random.random(5000) ** 3 * 200).astype(int)], axis=1)
    history = log(pairs, 300, 201).matrix()
    popularity = np.asarray(history.sum(axis=0))
    groups = popularity_groups(history)
    assert sum(group.astype(int) for group in groups.values()).tolist() == (popularity > 0).astype(int).tolist()
    for group in groups.values():
        assert popularity[group].sum() / popularity.sum() == pytest.approx(1 / 3, abs=0.05)
    assert popularity[groups["head"]].min() >= popularity[groups["mid"]].max()
    assert popularity[groups["mid"]].min() >= popularity[groups["tail"]].max()


def test_bootstrap_interval_of_a_mean():
    values = {"a": np.random.default_rng(1).normal(3, 2, size=400), "constant": np.full(400, 0.5)}
    intervals = bootstrap(values, resamples=2000, seed=7)
    half = 1.96 * values["a"].std() / 20  # normal theory
    assert intervals["a"] == pytest.approx([values["a"].mean() - half, values["a"].mean() + half], abs=0.02)
    assert intervals["constant"] == [0.5, 0.5]
    assert bootstrap(values, resamples=2000, seed=7) == intervals
