"""Models under differential privacy: what one user moves, what noise is added, and what is refused."""

import importlib
import math

import numpy as np
import pytest
import torch
from dp_accounting import dp_event
from dp_accounting.pld import pld_privacy_accountant
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.differential.noise import secret_generator, symmetric_gaussian
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, build_graph
from gnnrec.models import MODELS
from gnnrec.models.dp_filter import DPFilter, DPFilterConfig, aggregates, smoothed, with_constant
from gnnrec.models.dp_mf import DPMF, DPMFConfig, solved, start
from gnnrec.models.dp_mf import loss_of_halves as loss_of_factors
from gnnrec.models.dp_sgd import noise_multiplier, train_privately
from gnnrec.models.dp_tower import DPTower, DPTowerConfig, loss_of_halves
from gnnrec.models.private import bounded_history, content_directions, public_features, unit_histories
from gnnrec.private_runs import PRIVATE

USERS, ITEMS = 12, 20


def log_of(histories: list[list[int]], num_users: int = USERS) -> Interactions:
    user = np.repeat(np.arange(len(histories)), [len(history) for history in histories]).astype(np.int32)
    item = np.array([item for history in histories for item in history], dtype=np.int32)
    return Interactions(user=user, item=item, num_users=num_users, num_items=ITEMS)


def histories(seed: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.choice(ITEMS, random.integers(1, 10), replace=False).tolist() for _ in range(USERS - 1)]


def graph_of(log: Interactions) -> HeteroData:
    values = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    values[3] = np.nan
    return build_graph(log, {"text": from_array(values)})


def released(log: Interactions, directions: torch.Tensor, degree: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """What dp_filter would release without noise."""
    pairs = bounded_history(graph_of(log), degree, torch.Generator().manual_seed(0))
    return aggregates(unit_histories(pairs, (USERS, ITEMS)), directions)


@pytest.mark.parametrize("seed", range(20))
def test_a_user_more_moves_the_released_statistic_by_one_at_most(seed: int) -> None:
    """The weighted pair of Gram matrix and counts, for shares of the squared sensitivity that add up to one."""
    directions = with_constant(torch.randn(ITEMS, 5, dtype=torch.float64))
    own = np.random.default_rng(seed + 100).choice(ITEMS, 7, replace=False).tolist()
    without, with_her = (released(log_of(who), directions) for who in (histories(seed), [*histories(seed), own]))
    for share in (0.1, 0.3, 0.9):
        moved = (with_her[0] - without[0]).square().sum() * (1 - share) + (
            with_her[1] - without[1]
        ).square().sum() * share
        assert moved.sqrt() <= 1 + 1e-12


def test_the_bound_is_attained_by_a_user_who_lies_in_the_directions() -> None:
    everything = torch.eye(ITEMS, dtype=torch.float64)
    without, with_her = (released(log_of(who), everything) for who in (histories(1), [*histories(1), [4]]))
    assert (with_her[0] - without[0]).norm().item() == pytest.approx(1)
    assert (with_her[1] - without[1]).norm().item() == pytest.approx(1)


def test_a_user_counts_with_so_many_items_at_most_however_often_she_had_them() -> None:
    log = log_of([list(range(ITEMS)), [1, 1, 1, 2]])
    pairs = bounded_history(graph_of(log), 5, torch.Generator().manual_seed(0))
    assert torch.bincount(pairs[0]).tolist() == [5, 2]
    rows = unit_histories(pairs, (USERS, ITEMS)).to_dense()
    torch.testing.assert_close(rows.norm(dim=1)[:2], torch.ones(2, dtype=torch.float64))
    assert rows[2:].abs().max() == 0


@pytest.mark.parametrize("name", PRIVATE)
def test_each_model_takes_no_more_of_a_user_than_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it makes rows of is seen, and is a part of the log."""
    kind, config = MODELS[name]
    graph, taken = graph_of(log_of(histories(0))), []
    log = {(user, item) for user, item in graph[INTERACTS].edge_index.T.tolist()}
    module = importlib.import_module(kind.__module__)
    usual = module.unit_histories
    monkeypatch.setattr(module, "unit_histories", lambda pairs, shape: taken.append(pairs) or usual(pairs, shape))
    steps = {} if kind is DPFilter else {"epochs": 1, "batches": 1}
    model = kind(config(degree=2, delta=1e-3, **steps), graph, torch.Generator())
    model.fit_closed_form(graph)
    (pairs,) = taken
    assert pairs[0].bincount().max() == 2 < graph[INTERACTS].edge_index[0].bincount().max()
    assert {(user, item) for user, item in pairs.T.tolist()} < log
    assert model.privacy()["most_items_of_a_user"] == 2


def test_features_that_were_filled_in_from_the_log_are_not_public() -> None:
    one, other = (public_features(graph_of(log_of(histories(seed)))) for seed in (1, 2))
    torch.testing.assert_close(one, other)
    assert one[3].abs().max() == 0 and graph_of(log_of(histories(1)))["text"].imputed.any()


def test_the_noise_has_the_deviation_that_is_accounted() -> None:
    noise = torch.stack([symmetric_gaussian(4, 3.0, torch.Generator().manual_seed(seed)) for seed in range(4000)])
    assert torch.equal(noise, noise.transpose(1, 2))
    deviation = noise.std(0)
    torch.testing.assert_close(deviation.diagonal(), torch.full((4,), 3.0).double(), rtol=0.05, atol=0)
    beside = deviation[~torch.eye(4, dtype=torch.bool)]
    torch.testing.assert_close(beside, torch.full((12,), 3 / 2**0.5).double(), rtol=0.05, atol=0)


def test_what_is_released_has_the_noise_of_its_share() -> None:
    config, graph = DPFilterConfig(delta=1e-3, popularity_share=0.2), graph_of(log_of(histories(0)))
    model, directions = DPFilter(config, graph, torch.Generator()), with_constant(torch.randn(ITEMS, 3).double())
    draws = [model.release(graph, directions, 2.0, torch.Generator().manual_seed(seed)) for seed in range(500)]
    gram, counts = (torch.stack(part) for part in zip(*draws))
    true = released(log_of(histories(0)), directions)
    assert counts.std(0).mean().item() == pytest.approx(2 / 0.2**0.5, rel=0.03)
    assert gram.std(0).diagonal().mean().item() == pytest.approx(2 / 0.8**0.5, rel=0.05)
    torch.testing.assert_close(counts.mean(0), true[1], atol=0.9, rtol=0)
    torch.testing.assert_close(gram.mean(0), true[0], atol=0.45, rtol=0)


def test_two_trainings_by_the_same_seed_have_other_noise() -> None:
    graph = graph_of(log_of(histories(0)))
    made = [DPFilter(DPFilterConfig(delta=1e-3), graph, torch.Generator().manual_seed(0)) for _ in range(2)]
    for model in made:
        model.fit_closed_form(graph)
    assert not torch.allclose(made[0].popularity, made[1].popularity)
    states = [secret_generator().get_state() for _ in range(2)]
    assert (states[0] == states[1]).float().mean() < 0.6  # half of the bytes of the words are always zero


@pytest.mark.parametrize(("kind", "config"), [(DPTower, DPTowerConfig), (DPMF, DPMFConfig)])
def test_whoever_knew_the_draws_would_come_to_the_same_bits(kind: type, config: type) -> None:
    """Of users and halves, on as many threads: neither the seed of the run nor the global one decides anything."""
    graph, usual, states = graph_of(log_of(histories(0))), torch.get_num_threads(), []
    try:
        for threads, seed in ((1, 0), (1, 1), (2, 0), (2, 1)):
            torch.set_num_threads(threads)
            torch.manual_seed(seed)
            model = kind(config(epsilon=math.inf, delta=1e-3, epochs=1), graph, torch.Generator().manual_seed(seed))
            model.fit_closed_form(graph, torch.Generator().manual_seed(7))
            states.append(torch.cat([buffer.flatten() for buffer in model.buffers()]))
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(states[0], states[1]) and torch.equal(states[2], states[3])
    model.fit_closed_form(graph, torch.Generator().manual_seed(8))
    assert not torch.equal(torch.cat([buffer.flatten() for buffer in model.buffers()]), states[3])


def test_smoothing_takes_noise_off_and_leaves_what_has_none() -> None:
    random = torch.Generator().manual_seed(0)
    content = torch.nn.functional.normalize(torch.randn(300, 4, generator=random, dtype=torch.float64), dim=1)
    true = 10 * content[:, 0] + 20
    noisy = true + 5 * torch.randn(300, generator=random, dtype=torch.float64)
    assert (smoothed(noisy, content, 5.0) - true).square().mean() < 0.2 * (noisy - true).square().mean()
    assert torch.equal(smoothed(true, content, 0.0), true)


def test_directions_are_orthonormal_and_those_of_most_variance() -> None:
    features = torch.randn(30, 5, dtype=torch.float64) * torch.tensor([1.0, 9.0, 1.0, 5.0, 0.0])
    directions = content_directions(features, 2)
    torch.testing.assert_close(directions.T @ directions, torch.eye(2, dtype=torch.float64))
    left = features - directions @ (directions.T @ features)
    assert left.square().sum() == pytest.approx(torch.linalg.svdvals(features)[2:].square().sum().item())
    assert content_directions(torch.zeros(30, 0, dtype=torch.float64), 4).shape == (30, 0)


def test_the_steps_of_dp_sgd_cost_what_another_library_says() -> None:
    """Opacus chose the noise; dp-accounting, by another method, adds the steps up."""
    config = DPTowerConfig(epsilon=3.0, delta=1e-5, epochs=4, batches=5)
    step = dp_event.PoissonSampledDpEvent(1 / 5, dp_event.GaussianDpEvent(noise_multiplier(config)))
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(step, 20)
    assert accountant.get_epsilon(1e-5) == pytest.approx(3.0, rel=0.03)


def test_a_user_s_gradient_depends_on_nobody_else() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(5, 3, bias=False), torch.nn.Linear(3, 6))
    item = torch.randn(ITEMS, 6)
    rows = (torch.rand(8, ITEMS) < 0.4).float()
    changed = rows.clone()
    changed[1:] = (torch.rand(7, ITEMS) < 0.4).float()

    def gradient(batch: torch.Tensor) -> torch.Tensor:
        loss = loss_of_halves(network, batch, item, 0.1, torch.Generator().manual_seed(0))[0]
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, network.parameters())])

    torch.testing.assert_close(gradient(rows), gradient(changed))


@pytest.mark.parametrize(("kind", "config"), [(DPTower, DPTowerConfig), (DPMF, DPMFConfig)])
def test_a_run_of_dp_sgd_spends_its_epsilon_and_no_noise_is_no_privacy(kind: type, config: type) -> None:
    """By many steps, in some of which nobody is drawn."""
    graph = graph_of(log_of(histories(0)))
    spent = []
    for epsilon in (2.0, math.inf):
        model = kind(config(epsilon=epsilon, delta=1e-3, epochs=1, batches=30), graph, torch.Generator())
        model.fit_closed_form(graph)
        spent.append(model.privacy()["epsilon"])
    assert spent[0] == pytest.approx(2.0, rel=0.02) and spent[1] == math.inf


def test_where_a_chance_is_rounded_as_many_steps_are_taken_and_accounted() -> None:
    """1 / (1 / 93) is below 93: one step less would be taken, each accounted as of 1/92 of the users."""
    batches = 93
    assert int(1 / (1 / batches)) == batches - 1
    config = DPMFConfig(epsilon=1.0, delta=1e-3, epochs=2, batches=batches, dim=2)
    rows, seen = (torch.rand(USERS, ITEMS) < 0.4).float(), list[int]()
    network = start(torch.zeros(ITEMS, 0, dtype=torch.float64), 2, torch.Generator().manual_seed(0))

    def loss(network: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        assert all((rows == one).all(1).any() for one in batch)  # users' own rows, of which those of a step are dense
        scores: torch.Tensor = network(batch[:, :2])
        return scores.sum(1)

    epsilon, multiplier = train_privately(network, loss, rows.to_sparse(), config, secret_generator()).tolist()
    assert len(seen) == 2 * batches
    step = dp_event.PoissonSampledDpEvent(1 / batches, dp_event.GaussianDpEvent(multiplier))
    accountant = pld_privacy_accountant.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(step, len(seen))
    assert epsilon == pytest.approx(accountant.get_epsilon(1e-3), rel=0.02)
    assert epsilon == pytest.approx(1.0, rel=0.02)


def test_a_user_is_solved_by_ridge_regression_from_her_items() -> None:
    """Against numpy's least squares with l2 as rows of its own; items that are zero do not count."""
    mine = torch.randn(2, 5, 3)
    mine[1, 3:] = 0
    for row, found in zip(mine.numpy(), solved(mine, 4.0)):
        left = np.vstack([row, 2.0 * np.eye(3)])
        right = np.concatenate([np.abs(row).sum(1) > 0, np.zeros(3)])
        np.testing.assert_allclose(found, np.linalg.lstsq(left, right, rcond=None)[0], atol=1e-5)


def test_factors_learn_by_one_half_of_a_user_what_the_other_is() -> None:
    """The loss is the formula's, and its gradient is that of the item factors as the classifier of a fixed user."""
    network, l2 = start(torch.zeros(ITEMS, 0, dtype=torch.float64), 4, torch.Generator().manual_seed(0)), 2.0
    rows = torch.zeros(1, ITEMS)
    rows[0, [2, 5, 6, 9, 11]] = 5**-0.5
    first = [
        item for item in (2, 5, 6, 9, 11) if torch.rand(ITEMS, generator=torch.Generator().manual_seed(1))[item] < 0.5
    ]
    wanted = [item for item in (2, 5, 6, 9, 11) if item not in first]
    assert first and wanted
    loss = loss_of_factors(network, rows, l2, 0.5, torch.Generator().manual_seed(1))
    factors, bias = (parameter.detach().double().numpy() for parameter in network.parameters())
    user = np.linalg.solve(factors[first].T @ factors[first] + l2 * np.eye(4), factors[first].sum(0))
    scores = (factors @ user + bias) / 0.5
    chance = np.exp(scores) / np.exp(scores).sum()
    assert loss.item() == pytest.approx(-np.log(chance[wanted]).mean(), rel=1e-5)
    target = np.isin(np.arange(ITEMS), wanted) / len(wanted)
    gradient = torch.autograd.grad(loss.sum(), next(network.parameters()))[0]
    np.testing.assert_allclose(gradient, np.outer(chance - target, user) / 0.5, atol=1e-5)


def test_factors_start_where_content_is_and_keep_its_inner_products() -> None:
    features = torch.randn(ITEMS, 6, dtype=torch.float64)
    features[3] = 0
    factors, bias = start(features, 8, torch.Generator().manual_seed(0)).parameters()
    unit = torch.nn.functional.normalize(features, dim=1).float()
    known = torch.arange(ITEMS) != 3
    torch.testing.assert_close(factors[known] @ factors[known].T, unit[known] @ unit[known].T, atol=1e-5, rtol=0)
    assert factors[3].abs().min() > 0 and bias.abs().max() == 0


@pytest.mark.parametrize("kind", [DPFilterConfig, DPTowerConfig, DPMFConfig])
def test_what_is_no_budget_is_refused(kind: type) -> None:
    for settings in ({"epsilon": 0.0}, {"epsilon": math.nan}, {"delta": 0.0}, {"delta": 1.0}):
        with pytest.raises(UserError, match=f"model.{next(iter(settings))}: found .* allowed"):
            kind(**settings)


def test_a_delta_that_would_publish_a_user_is_refused() -> None:
    graph = graph_of(log_of(histories(0)))
    with pytest.raises(UserError, match=r"model.delta: found 0.1 for 12 users; allowed: below 0.083"):
        DPFilter(DPFilterConfig(delta=0.1), graph, torch.Generator()).fit_closed_form(graph)
