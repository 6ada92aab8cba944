"""Models that know order: transitions and SLIT against the log worked by hand, SASRec against what it may not see."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.errors import UserError
from gnnrec.graph import build_graph
from gnnrec.models import MODELS, EmbeddingModel, model_scorer
from gnnrec.models.sasrec import SASRec, SASRecConfig
from gnnrec.pipeline import fit_model
from gnnrec.recipe import Recipe
from gnnrec.training import TrainConfig, fit

ORDERED = ("transition", "slist", "sasrec")


def walks(rows: list[tuple[int, int]], num_users: int, num_items: int) -> Interactions:
    """A log of (user, item) in the order of time."""
    user, item = np.array(rows, np.int32).T
    return Interactions(
        user=user.copy(), item=item.copy(), num_users=num_users, num_items=num_items, timestamp=np.arange(len(rows))
    )


def fitted(name: str, log: Interactions, train: TrainConfig | None = None, **settings: Any) -> torch.Tensor:
    """Scores [U, I] after training on all of the log."""
    graph = build_graph(log, {})
    recipe = Recipe(model_name=name, model=MODELS[name][1](**settings), train=train or TrainConfig())
    model, _ = fit_model(graph, log.rows(np.zeros(0, np.int64)), recipe)
    return model_scorer(model, graph)(torch.arange(log.num_users))


def test_transitions_of_three_users_by_hand() -> None:
    log = walks([(0, 0), (1, 1), (0, 1), (1, 2), (0, 2), (2, 0)], num_users=3, num_items=3)
    # Half-life 1: of two items before, the last weighs 2/3 and the other 1/3.
    # User 0: 0 -> 1 by 1; 1 -> 2 by 2/3, 0 -> 2 by 1/3. User 1: 1 -> 2 by 1. User 2: nothing came next.
    counts = np.array([[0, 1, 1 / 3], [0, 0, 5 / 3], [0, 0, 0]])
    shares = counts / (counts.sum(1, keepdims=True) + 0.5)
    now = np.array([[0, 1 / 3, 2 / 3], [0, 1 / 3, 2 / 3], [1, 0, 0]])  # the last two items of each user
    found = fitted("transition", log, recent=2, half_life=1.0, shrink=0.5)
    np.testing.assert_allclose(found, now @ shares, atol=1e-6)
    unshrunk = fitted("transition", log, recent=1, half_life=1.0, shrink=0.0)
    np.testing.assert_allclose(unshrunk, np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0]]), atol=1e-6)


def recency(items: list[int], num_items: int, length: int, half_life: float) -> np.ndarray:
    row = np.zeros(num_items)
    for lag, item in enumerate(reversed(items[-length:])):
        row[item] += 0.5 ** (lag / half_life)
    return row / max(row.sum(), 1e-30)


def naive_rows(log: Interactions, length: int, half_life: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights right before each interaction [E, I], the interaction itself [E, I], weights of users now [U, I]."""
    history: dict[int, list[int]] = {user: [] for user in range(log.num_users)}
    before, following = [], np.eye(log.num_items)[log.item]
    for user, item in zip(log.user.tolist(), log.item.tolist()):
        before.append(recency(history[user], log.num_items, length, half_life))
        history[user].append(item)
    last = [recency(items, log.num_items, length, half_life) for items in history.values()]
    return np.array(before), following, np.array(last)


def test_slist_equals_the_ridge_regression() -> None:
    log = powerlaw(30, 20, 140, seed=3).interactions
    before, following, last = naive_rows(log, 4, 2.0)
    # Ridge regression as least squares with sqrt(l2) rows below.
    below = np.sqrt(0.7) * np.eye(20)
    weights = np.linalg.lstsq(np.r_[before, below], np.r_[following, np.zeros((20, 20))], rcond=None)[0]
    found = fitted("slist", log, recent=4, half_life=2.0, l2=0.7)
    np.testing.assert_allclose(found, last @ weights, atol=1e-5)


def test_ease_scores_by_what_is_recent_where_it_is_told_to() -> None:
    log = powerlaw(30, 20, 140, seed=3).interactions
    matrix = log.matrix().toarray().astype(float)
    precision = np.linalg.inv(matrix.T @ matrix + 7.0 * np.eye(20))
    weights = -precision / np.diag(precision)
    np.fill_diagonal(weights, 0)
    last = naive_rows(log, 3, 2.0)[2]
    np.testing.assert_allclose(fitted("ease", log, l2=7.0, recent=3, half_life=2.0), last @ weights, atol=1e-5)


@pytest.mark.parametrize("name", [*ORDERED, "ease"])
def test_a_log_without_order_is_one_clear_line(name: str) -> None:
    log = powerlaw(30, 20, 140).interactions.unordered()
    settings = {"recent": 5} if name == "ease" else {}
    with pytest.raises(UserError, match=rf"model {name}.*: found no order among the training rows; allowed: .*times"):
        fitted(name, log, **settings)


@pytest.mark.parametrize("name", ORDERED)
def test_learns_a_cycle(name: str) -> None:
    """Everybody walks the same circle of items, each from another start: what comes next is certain."""
    num_items, steps = 12, 6
    log = walks([(user, (user + step) % num_items) for step in range(steps) for user in range(60)], 60, num_items)
    scores = fitted(name, log, TrainConfig(epochs=15, batch_size=64))
    right = (torch.arange(60) + steps) % num_items
    assert scores.argmax(1).eq(right).float().mean() > 0.95


def test_sasrec_learns_what_only_two_items_together_tell() -> None:
    """x, then y: next is (x + y) mod 3, about which neither of the two alone says anything."""
    random, users, known = np.random.default_rng(0), 300, 240
    first, second = random.integers(3, size=(2, users))
    steps = (first, 3 + second, 6 + (first + second) % 3)
    whole = walks([(user, int(items[user])) for items in steps for user in range(users)], users, 9)
    train = whole.rows(np.flatnonzero((whole.user < known) | (whole.item < 6)))  # the others are not yet at their end
    config = TrainConfig(epochs=30, batch_size=128, temperature=0.1, learning_rate=5e-3)
    scores = fitted("sasrec", train, config, dim=32)
    assert torch.equal(scores[known:].argmax(1), torch.from_numpy(steps[2][known:]))


def sasrec(log: Interactions, **settings: Any) -> tuple[SASRec, HeteroData]:
    """A model whose every parameter is drawn, without dropout."""
    graph, random = build_graph(log, {}), torch.Generator().manual_seed(0)
    model = SASRec(SASRecConfig(**{"dim": 8} | settings), graph, random)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=random)
    model.eval()
    return model, graph


def queries(model: SASRec, graph: HeteroData) -> torch.Tensor:
    """The user before every interaction of the graph. [E, d]"""
    every = torch.arange(graph["user", "interacts", "item"].num_edges)
    with torch.no_grad():
        return model.queries(graph, model.training_pass(graph, torch.Generator()), every)


def test_sasrec_sees_nothing_of_an_interaction_or_after_it() -> None:
    log = powerlaw(6, 30, 40, seed=2).interactions
    cut = 20
    changed = np.r_[log.item[:cut], (log.item[cut:] + 7) % 30].astype(np.int32)
    other = Interactions(user=log.user, item=changed, num_users=6, num_items=30, timestamp=log.timestamp)
    model, graph = sasrec(log, length=10)
    before, after = queries(model, graph), queries(model, build_graph(other, {}))
    # Of each user, the first interaction after the cut still has an unchanged history.
    unchanged = np.array([not np.any(log.user[cut:row] == user) for row, user in enumerate(log.user)])
    torch.testing.assert_close(after[unchanged], before[unchanged])
    assert not torch.isclose(after[~unchanged], before[~unchanged]).all(1).any()


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_sasrec_s_query_is_the_user_whose_history_ends_there(similarity: str) -> None:
    log = powerlaw(6, 30, 40, seed=2).interactions
    longest = int(np.bincount(log.user).max())
    model, graph = sasrec(log, length=2 * longest, similarity=similarity)
    at_once = queries(model, graph)
    for row in (0, 5, 17, 36):
        with torch.no_grad():
            alone = model(build_graph(log.rows(np.arange(row)), {})) if row else model(_empty(log))
        torch.testing.assert_close(at_once[row], alone.user[log.user[row]], atol=1e-5, rtol=1e-4)
    # Any batch gives the same rows, and what is further back than the window says nothing.
    some = torch.tensor([17, 3, 17])
    with torch.no_grad():
        torch.testing.assert_close(
            model.queries(graph, model.training_pass(graph, torch.Generator()), some),
            at_once[some],
            atol=1e-5,
            rtol=1e-4,
        )


def _empty(log: Interactions) -> HeteroData:
    graph = build_graph(log.rows(np.arange(1)), {})
    for edge_type in (("user", "interacts", "item"), ("item", "rev_interacts", "user")):
        graph[edge_type].edge_index, graph[edge_type].time = torch.empty((2, 0), dtype=torch.long), torch.empty(0)
    return graph


@torch.no_grad()
def test_sasrec_knows_the_order_and_looks_as_far_as_its_window() -> None:
    items = [3, 1, 4, 5, 9, 2]
    log = walks([(0, item) for item in items], 1, 10)
    model, graph = sasrec(log, length=3)
    user = model(graph).user
    swapped = walks([(0, item) for item in (3, 1, 4, 9, 5, 2)], 1, 10)
    assert not torch.allclose(model(build_graph(swapped, {})).user, user, atol=1e-3)
    further_back = walks([(0, item) for item in (7, 8, 0, 5, 9, 2)], 1, 10)
    torch.testing.assert_close(model(build_graph(further_back, {})).user, user)


def test_sasrec_s_batches_are_every_interaction_once_with_few_windows_each() -> None:
    log = powerlaw(50, 40, 500, seed=1).interactions
    model, graph = sasrec(log, length=8)
    batches = model.batches(graph, 64, torch.Generator().manual_seed(0))
    assert torch.cat(batches).sort().values.equal(torch.arange(len(log))) and {len(b) for b in batches[:-1]} == {64}
    other = model.batches(graph, 64, torch.Generator().manual_seed(1))
    assert not torch.equal(batches[0], other[0])
    place = np.array([np.sum(log.user[:row] == log.user[row]) for row in range(len(log))])
    windows = {(user, number) for user, number in zip(log.user.tolist(), (place // 4).tolist())}
    in_batches = sum(len({(int(log.user[row]), int(place[row] // 4)) for row in batch}) for batch in batches)
    assert in_batches <= len(windows) + len(batches)  # a batch cuts one window at most


def test_sasrec_resumes_to_the_same_weights_though_it_drops_out(tmp_path: Path) -> None:
    log = powerlaw(40, 30, 300, seed=1).interactions
    graph, nothing = build_graph(log, {}), log.rows(np.zeros(0, np.int64))

    def trained(epochs: list[int]) -> dict[str, torch.Tensor]:
        for number in epochs:
            model: EmbeddingModel = SASRec(SASRecConfig(dim=8), graph, torch.Generator().manual_seed(0))
            config = TrainConfig(epochs=4, batch_size=64)
            path = tmp_path / f"{len(epochs)}.safetensors"

            def stop(history: list[dict[str, float]], number: int = number) -> None:
                if len(history) == number:
                    raise KeyboardInterrupt

            try:
                fit(model, graph, nothing, config, checkpoint=path, on_epoch=stop)
            except KeyboardInterrupt:
                torch.manual_seed(number)  # nothing hangs on torch's own generator
        return model.state_dict()

    whole, resumed = trained([9]), trained([2, 9])
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
