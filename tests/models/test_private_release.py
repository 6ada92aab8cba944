"""By construction: one user moves what a step adds up by the clipping bound at most, and nothing of a log is released
but through the noise. What models release is all of their state, parameters and buffers alike.

Adam makes a whole step of a small gradient, so that the bound on a user cannot be seen in weights. It is seen in the
gradients that Adam is given, and the weights are held against Adam's formula over these gradients alone.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.encoders.encode import from_array
from gnnrec.graph import build_graph
from gnnrec.models import MODELS
from gnnrec.models.private import PrivateModel
from gnnrec.private_runs import PRIVATE

USERS, ITEMS, HAD, HER = 30, 20, 6, 7
CLIP, RATE, DELTA = 0.5, 0.01, 1e-3
LEARNT = {"dp_tower": ("down", "up", "bias"), "dp_mf": ("item", "bias")}  # by the steps of DP-SGD
PLAIN = {"dp_filter": "gnnrec.models.dp_filter.gaussian_multiplier"}  # where a model gets its multiplier from
STEPS = {"delta": DELTA, "clip": CLIP, "learning_rate": RATE, "epochs": 1, "batches": 1}
COMMON, RARE, NOTHING = list(range(HAD)), list(range(ITEMS - HAD, ITEMS)), []


def histories(seed: int, hers: list[int] | None = None) -> list[list[int]]:
    """Of all users, as long as each other's, so that draws fall alike on all logs; of user HER what is said."""
    random = np.random.default_rng(seed)
    made = [sorted(random.choice(ITEMS, HAD, replace=False).tolist()) for _ in range(USERS)]
    return [hers if user == HER and hers is not None else history for user, history in enumerate(made)]


def graph_of(made: list[list[int]]) -> HeteroData:
    log = Interactions(
        user=np.repeat(np.arange(USERS), [len(history) for history in made]).astype(np.int32),
        item=np.array([item for history in made for item in history], dtype=np.int32),
        num_users=USERS,
        num_items=ITEMS,
    )
    content = np.random.default_rng(0).normal(size=(ITEMS, 6)).astype(np.float32)
    content[4] = np.nan
    return build_graph(log, {"text": from_array(content)})


def fitted(
    name: str, made: list[list[int]], multiplier: float, **settings: Any
) -> tuple[PrivateModel, list[list[Tensor]]]:
    """A model with noise of this multiplier, all chance from one seed, and the gradients that Adam was given, by step.

    The lot by which long histories are cut takes a draw a pair: pairs that are not there are drawn before.
    """
    kind, config = MODELS[name]
    steps: list[list[Tensor]] = []

    def record(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if isinstance(optimizer, torch.optim.Adam):
            steps.append([p.grad.clone() for group in optimizer.param_groups for p in group["params"]])

    chance = torch.Generator().manual_seed(3)
    torch.rand(1 + USERS * HAD - sum(map(len, made)), generator=chance)
    hook = register_optimizer_step_pre_hook(record)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(PLAIN.get(name, "gnnrec.models.dp_sgd.noise_multiplier"), lambda *_: multiplier)
            graph = graph_of(made)
            model = kind(config(**settings), graph, torch.Generator())
            model.fit_closed_form(graph, chance)
    finally:
        hook.remove()
    return model, steps


def first_sum(name: str, made: list[list[int]], multiplier: float) -> Tensor:
    """Of all users' clipped gradients in one step, with the noise."""
    (parts,) = fitted(name, made, multiplier, **STEPS)[1]
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("hers", [COMMON, RARE])
def test_one_user_moves_the_noisy_sum_of_a_step_by_the_clip_at_most(name: str, hers: list[int]) -> None:
    """The same noise with her and without her; her gradient is longer than the clip, so that the bound is attained."""
    moved = first_sum(name, histories(0, hers), 2.0) - first_sum(name, histories(0, NOTHING), 2.0)
    assert 0.99 * CLIP < moved.norm() < CLIP * (1 + 1e-4)  # float32 noise is added and taken off


@pytest.mark.parametrize("name", LEARNT)
def test_every_number_of_a_step_has_the_noise_that_is_accounted(name: str) -> None:
    none, single, double = (first_sum(name, histories(0), multiplier) for multiplier in (0.0, 3.0, 6.0))
    noise = single - none
    torch.testing.assert_close(double - none, 2 * noise, atol=1e-4, rtol=1e-4)
    assert noise.std().item() == pytest.approx(3 * CLIP, rel=4 / (2 * len(noise)) ** 0.5)
    assert noise.mean().abs() < 4 * 3 * CLIP / len(noise) ** 0.5
    assert len(noise.unique()) > 0.99 * len(noise)


@pytest.mark.parametrize("name", LEARNT)
def test_what_is_released_is_the_start_and_adam_over_the_noisy_sums_and_nothing_else(name: str) -> None:
    start, _ = fitted(name, histories(1), 2.0, **STEPS | {"learning_rate": 1e-30})
    model, steps = fitted(name, histories(0), 2.0, **STEPS | {"epochs": 3})
    assert len(steps) == 3
    state = model.state_dict()
    for place, learnt in enumerate(LEARNT[name]):
        value, mean, square = start.state_dict()[learnt].double(), 0.0, 0.0
        for step, gradients in enumerate(steps, start=1):
            gradient = gradients[place].double()
            mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
            value = value - RATE * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        torch.testing.assert_close(state[learnt].double(), value, atol=1e-6, rtol=1e-5)
    for other in set(state) - {*LEARNT[name], "spent"}:  # what no step shaped is the same on any log
        assert torch.equal(state[other], start.state_dict()[other])


@pytest.mark.parametrize("name", PRIVATE)
def test_under_noise_without_measure_no_log_can_be_told_from_another(name: str) -> None:
    """Whatever a model releases, of whatever kind: a million times the bound on a user leaves nothing of any."""
    settings = STEPS if name in LEARNT else {"delta": DELTA}
    one, other = (fitted(name, histories(seed), 1e6, **settings)[0].state_dict() for seed in (0, 1))
    assert set(one) == set(other) and len(one) >= 2
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=1e-3, rtol=1e-3, msg=lambda said, key=key: f"{key}: {said}")


@pytest.mark.parametrize("name", PRIVATE)
def test_without_noise_they_can_be_told(name: str) -> None:
    """So the test before it looks at something."""
    settings = STEPS if name in LEARNT else {"delta": DELTA}
    one, other = (fitted(name, histories(seed), 0.0, **settings)[0].state_dict() for seed in (0, 1))
    assert any(value.shape != other[key].shape or not torch.allclose(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", LEARNT)
def test_users_in_pieces_are_one_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is summed piece by piece, for memory, gets its noise once."""
    whole = first_sum(name, histories(0), 2.0)
    monkeypatch.setattr("gnnrec.models.dp_sgd.PIECE", 1)  # a user each
    torch.testing.assert_close(first_sum(name, histories(0), 2.0), whole, atol=1e-4, rtol=1e-4)
