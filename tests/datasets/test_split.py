from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gnnrec.datasets import Dataset, Interactions, SplitConfig, powerlaw, split, split_report
from gnnrec.errors import UserError


def dataset(rows, published=None, timed=True) -> Dataset:
    """rows: (user, item, timestamp), in the order of the file."""
    rows = sorted(rows, key=lambda row: row[2]) if timed else rows
    user, item, time = (np.array(column) for column in zip(*rows))
    num_users, num_items = user.max() + 1, item.max() + 1
    log = Interactions(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        num_users=num_users,
        num_items=num_items,
        timestamp=time.astype(np.int64) if timed else None,
    )
    return Dataset(
        name="hand-made",
        root=Path(),
        user_ids=tuple(map(str, range(num_users))),
        item_ids=tuple(map(str, range(num_items))),
        interactions=log,
        published_split=None if published is None else np.array(published, dtype=np.int8),
    )


def pairs(log: Interactions) -> list[tuple[int, int]]:
    return sorted(zip(log.user.tolist(), log.item.tolist()))


def test_leave_last_takes_the_last_two_in_time_and_ties_keep_the_order_of_the_file():
    # User 0: items 4 and 5 at the same moment, 5 later in the file. User 1 has two rows only.
    cut = split(dataset([(0, 3, 30), (0, 4, 50), (0, 5, 50), (0, 2, 10), (1, 0, 1), (1, 1, 2)]))
    assert pairs(cut.test) == [(0, 5)]
    assert pairs(cut.val) == [(0, 4)]
    assert pairs(cut.train) == [(0, 2), (0, 3), (1, 0), (1, 1)]


def test_user_time_against_a_naive_count():
    made = powerlaw(80, 60, 1_000, seed=4)
    log = made.interactions
    cut = split(made, SplitConfig(method="user_time", val_share=0.2, test_share=0.3))
    expected = {"train": [], "val": [], "test": []}
    for user in range(80):
        items = log.item[log.user == user].tolist()  # in time
        size = len(items)
        num_test = max(1, round(size * 0.3)) if size >= 3 else 0
        num_val = max(1, round(size * 0.2)) if size >= 3 else 0
        for place, item in enumerate(items):
            left = size - place
            part = "test" if left <= num_test else "val" if left <= num_test + num_val else "train"
            expected[part].append((user, item))
    for part, rows in expected.items():
        assert pairs(getattr(cut, part)) == sorted(rows)


def test_large_shares_leave_every_user_a_row_to_train_on():
    made = dataset([(0, item, item) for item in range(3)] + [(1, item, item) for item in range(9)])
    cut = split(made, SplitConfig(method="user_time", val_share=0.4, test_share=0.5))
    assert set(cut.train.user.tolist()) == {0, 1}
    assert (len(cut.train), len(cut.val), len(cut.test)) == (2, 5, 5)


def test_global_time_never_divides_a_moment_and_nothing_of_the_past_is_in_test():
    times = [1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9]
    made = dataset([(number % 3, number, time) for number, time in enumerate(times)])
    cut = split(made, SplitConfig(method="global_time", val_share=0.25, test_share=0.25))
    assert cut.test.timestamp.tolist() == [9, 9, 9, 9]  # a quarter is three rows; the fourth is of the same moment
    assert cut.val.timestamp.tolist() == [7, 8]
    assert cut.train.timestamp.max() < cut.val.timestamp.min()


def test_random_depends_on_the_seed_but_not_on_the_order_of_the_rows():
    rows = [(user, item, 0) for user in range(20) for item in range(user, user + 10)]
    mixed = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    config = SplitConfig(method="random", seed=7)
    one, two = (split(dataset(order, timed=False), config) for order in (rows, mixed))
    other = split(dataset(rows, timed=False), replace(config, seed=8))
    assert pairs(one.test) == pairs(two.test) != pairs(other.test)
    assert np.bincount(one.test.user).tolist() == [1] * 20 == np.bincount(one.val.user).tolist()


def test_published_is_taken_as_it_is_and_minus_one_is_in_none():
    made = dataset([(0, item, item) for item in range(6)], published=[0, 2, 1, -1, 0, 0])
    cut = split(made)
    assert (pairs(cut.train), pairs(cut.val), pairs(cut.test)) == ([(0, 0), (0, 4), (0, 5)], [(0, 2)], [(0, 1)])


def test_published_without_val_draws_it_from_train_and_never_from_test():
    rows = [(user, item, item) for user in range(5) for item in range(10)]
    made = dataset(rows, published=[2 if item >= 8 else 0 for _, item, _ in sorted(rows, key=lambda row: row[2])])
    cut = split(made)
    assert len(cut.test) == 10 and set(cut.test.item.tolist()) == {8, 9}
    assert np.bincount(cut.val.user).tolist() == [1] * 5
    assert len(split(made, SplitConfig(val_share=0.0)).val) == 0


def test_auto_is_random_without_timestamps_and_methods_of_time_say_what_they_need():
    made = dataset([(0, item, 0) for item in range(10)], timed=False)
    assert pairs(split(made).test) == pairs(split(made, SplitConfig(method="random")).test)
    with pytest.raises(UserError, match="'leave_last' needs timestamps and hand-made has none; allowed: random"):
        split(made, SplitConfig(method="leave_last"))
    with pytest.raises(UserError, match="needs a column"):
        split(made, SplitConfig(method="published"))


@pytest.mark.parametrize("wrong", [{"method": "kfold"}, {"test_share": 1.0}, {"val_share": -0.1}, {"min_core": -1}])
def test_wrong_settings_are_told(wrong):
    with pytest.raises(UserError, match="allowed|negative"):
        SplitConfig(**wrong)


def test_k_core_against_a_naive_loop_and_the_ids_stay():
    made = powerlaw(300, 200, 1_500, seed=2)
    cut = split(made, SplitConfig(method="random", min_core=4))
    rows = list(zip(made.interactions.user.tolist(), made.interactions.item.tolist()))
    while True:
        users, items = [row[0] for row in rows], [row[1] for row in rows]
        kept = [row for row in rows if users.count(row[0]) >= 4 and items.count(row[1]) >= 4]
        if len(kept) == len(rows):
            break
        rows = kept
    assert sorted(pairs(cut.train) + pairs(cut.val) + pairs(cut.test)) == sorted(rows)
    assert 0 < len(rows) < len(made.interactions)
    assert (cut.train.num_users, cut.train.num_items) == (300, 200)
    with pytest.raises(UserError, match="no row"):
        split(made, SplitConfig(method="random", min_core=1_000))


def test_report_counts_users_without_history_and_cold_items():
    # User 1 and item 9 appear only at the end of time.
    rows = [(0, item, item) for item in range(8)] + [(1, 9, 100), (1, 0, 101)]
    report = split_report(dataset(rows)).rows_by_key("method", named=True, unique=True)
    assert list(report) == ["leave_last", "user_time", "global_time", "random"]
    whole = split_report(replace(dataset(rows), split=SplitConfig(test_share=0.2))).rows_by_key(
        "method", named=True, unique=True
    )["global_time"]
    assert (whole["test"], whole["test_users"], whole["test_users_without_train"]) == (2, 1, 1.0)
    assert whole["cold_test_items"] == 1
    assert report["leave_last"]["test_users_without_train"] == 0.0


def test_a_global_cut_on_movies_leaves_three_of_four_test_users_without_history():
    report = split_report(Dataset.load(Path(__file__).parents[2] / "data" / "movies")).rows_by_key(
        "method", named=True, unique=True
    )
    assert report["leave_last"]["test"] == 610
    assert report["global_time"]["test_users_without_train"] == pytest.approx(0.77, abs=0.01)


@pytest.mark.parametrize("method", ["leave_last", "user_time", "random", "global_time", "published"])
def test_a_sample_of_users_is_held_out_and_the_rest_is_as_it_says(method: str) -> None:
    data = powerlaw(60, 40, 500)
    log = data.interactions
    parts = np.zeros(len(log), np.int8)
    parts[-100:], parts[-200:-100] = 2, 1
    data = replace(data, published_split=parts)
    whole = split(data, SplitConfig(method=method))
    some = split(data, SplitConfig(method=method, users=7))
    held = np.union1d(some.val.user, some.test.user)
    assert len(held) == 7
    for name in ("val", "test"):
        before, after = getattr(whole, name), getattr(some, name)
        mine = np.isin(before.user, held)
        assert np.array_equal(after.user, before.user[mine]) and np.array_equal(after.item, before.item[mine])
    if method in ("global_time", "published"):  # what lies after the cut is no train row of anybody
        assert len(some.train) == len(whole.train)
    else:
        assert len(some.train) + len(some.val) + len(some.test) == len(log)
    again = split(data, SplitConfig(method=method, users=7))
    assert np.array_equal(again.test.user, some.test.user)
    assert not np.array_equal(split(data, SplitConfig(method=method, users=7, seed=1)).test.user, some.test.user)
    assert len(split(data, SplitConfig(method=method, users=1000)).test) == len(whole.test)
