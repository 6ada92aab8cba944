"""Recency operators against a loop that can only see what came before."""

import numpy as np
import pytest
import torch

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.graph import build_graph
from gnnrec.recency import histories_of, last_items, recent_before, recent_of_users


def naive(items_before: list[int], num_items: int, length: int, half_life: float) -> np.ndarray:
    row = np.zeros(num_items)
    for lag, item in enumerate(reversed(items_before[-length:])):
        row[item] += 0.5 ** (lag / half_life)
    return row / max(row.sum(), 1e-30)


@pytest.mark.parametrize(("length", "half_life"), [(1, 5.0), (3, 1.0), (20, 5.0)])
def test_equals_a_loop_over_the_log(length: int, half_life: float) -> None:
    dataset = powerlaw(30, 40, 300, seed=1)
    log = dataset.interactions
    again = log.rows(np.sort(np.r_[np.arange(len(log)), [5, 5, 90]]))  # the same item again and again
    graph = build_graph(again, {})
    before = recent_before(graph, length, half_life) @ torch.eye(40)
    of_users = recent_of_users(graph, length, half_life) @ torch.eye(40)
    history: dict[int, list[int]] = {user: [] for user in range(30)}
    for row, (user, item) in enumerate(zip(again.user.tolist(), again.item.tolist())):
        np.testing.assert_allclose(before[row], naive(history[user], 40, length, half_life), atol=1e-6)
        history[user].append(item)
    for user, items in history.items():
        np.testing.assert_allclose(of_users[user], naive(items, 40, length, half_life), atol=1e-6)


def test_nothing_after_an_interaction_changes_what_came_before_it() -> None:
    log = powerlaw(20, 30, 140, seed=2).interactions
    cut = 80
    whole = recent_before(build_graph(log, {}), 10, 3.0) @ torch.eye(30)
    changed = Interactions(
        user=log.user,
        item=np.r_[log.item[:cut], (log.item[cut:] + 7) % 30].astype(np.int32),
        num_users=20,
        num_items=30,
        timestamp=log.timestamp,
    )
    other = recent_before(build_graph(changed, {}), 10, 3.0) @ torch.eye(30)
    assert torch.equal(whole[: cut + 1], other[: cut + 1])
    assert not torch.equal(whole[cut + 1 :], other[cut + 1 :])


def test_a_first_interaction_has_nothing_before_it() -> None:
    log = Interactions(
        user=np.array([1, 0, 1], np.int32),
        item=np.array([2, 2, 0], np.int32),
        num_users=3,
        num_items=3,
        timestamp=np.arange(3),
    )
    graph = build_graph(log, {})
    before = recent_before(graph, 5, 2.0) @ torch.eye(3)
    assert torch.equal(before, torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]]))
    last = recent_of_users(graph, 1, 2.0) @ torch.eye(3)
    assert torch.equal(last, torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 0, 0]]))


def test_last_items_come_last_first() -> None:
    user, item = np.array([0, 1, 0, 0, 1], np.int32), np.array([3, 2, 1, 0, 3], np.int32)
    log = Interactions(user=user, item=item, num_users=3, num_items=4, timestamp=np.arange(5))
    histories = histories_of(build_graph(log, {}))
    assert histories.place.tolist() == [0, 0, 1, 2, 1] and histories.size.tolist() == [3, 2, 0]
    items, there = last_items(histories, torch.tensor([0, 0, 1, 2]), torch.tensor([3, 1, 2, 0]), 2)
    assert items.tolist() == [[0, 1], [3, 0], [3, 2], [0, 0]]
    assert there.tolist() == [[True, True], [True, False], [True, True], [False, False]]
