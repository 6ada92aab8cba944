"""DP-SGD at the level of users, by Opacus: what the models that are trained by it have in common.

An example is a user, with all that she had: her gradient is clipped, a step sums over users drawn by lot (Poisson
sampling) and adds Gaussian noise (Abadi et al. 2016, "Deep learning with differential privacy", with users for examples
as in McMahan et al. 2018, "Learning differentially private recurrent language models"). Opacus is right where a user's
gradient depends on nobody else; on a graph network, where a gradient reaches over other users, its epsilon would be
false, and `dp_filter` is for that. The number of steps is fixed, validation is not looked at.

Letters: U users, I items, B users of a step.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import TensorDataset

from gnnrec.differential.accounting import check_budget
from gnnrec.errors import missing_extra
from gnnrec.models.base import check_above_zero, check_least
from gnnrec.models.private import PrivateModel

PIECE = 2**25  # numbers of users' own gradients that are held at a time, 128 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class DPSGDConfig:
    epsilon: float = 4.0  # of what is released, for a whole user; inf: no noise, gradients are clipped all the same
    delta: float = 1e-5  # has to be below one in all users
    degree: int = 200  # at most so many items of a user count
    epochs: int = 10
    batches: int = 2  # steps of an epoch; each takes every user with one chance in so many
    clip: float = 1.0  # length of a user's gradient at most
    learning_rate: float = 0.003  # of Adam
    temperature: float = 0.1  # of the softmax

    def __post_init__(self) -> None:
        check_budget(self.epsilon, self.delta)
        check_least(self, degree=2, epochs=1, batches=1)
        for name in ("clip", "learning_rate", "temperature"):
            check_above_zero(self, name)


class DPSGDModel(PrivateModel):
    """Its fit is short and of fixed length, so it is fitted at once, as the closed forms are."""

    config: DPSGDConfig
    spent: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spent", torch.empty(0))  # epsilon and noise multiplier

    def privacy(self) -> dict[str, Any]:
        epsilon, multiplier = self.spent.tolist()
        steps = self.config.epochs * self.config.batches
        return {
            "epsilon": epsilon,
            "delta": self.config.delta,
            "unit": "user",
            "mechanism": f"DP-SGD, {steps} steps of 1/{self.config.batches} of the users",
            "noise_multiplier": multiplier,
            "clip": self.config.clip,
            "most_items_of_a_user": self.config.degree,
        }


def train_privately(
    network: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor], rows: Tensor, config: DPSGDConfig, noise: Generator
) -> Tensor:
    """Train the network in place by Adam; the epsilon spent and the noise multiplier. [2]

    loss: (network, users' rows [B, I]) -> [B], of each user by her own row and the network alone. It calls the network
    once, with one input row a user. rows: of users over items, sparse and coalesced, [U, I]; those of a piece of a step
    alone are ever dense.
    """
    try:
        from opacus import PrivacyEngine
        from opacus.data_loader import DPDataLoader
    except ModuleNotFoundError as error:
        raise missing_extra("dp", str(error.name)) from error
    optimizer: Any = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    multiplier = noise_multiplier(config)
    piece = max(1, PIECE // sum(parameter.numel() for parameter in network.parameters()))
    # Its own Poisson sampling, since make_private would draw from torch's global generator, whose seed runs set.
    loader: Any = DPDataLoader(TensorDataset(torch.arange(len(rows))), sample_rate=1 / config.batches, generator=noise)
    # It would take int(1 / (1 / 93)) = 92 steps; from their number the engine takes the chance that it accounts for.
    loader.batch_sampler.steps = config.batches
    with warnings.catch_warnings():
        # That its own secure mode is off (see differential/noise.py), and of torch's hooks.
        warnings.simplefilter("ignore")
        engine = PrivacyEngine(accountant="prv")
        network, optimizer, loader = engine.make_private(
            module=network,
            optimizer=optimizer,
            data_loader=loader,
            noise_multiplier=multiplier,
            max_grad_norm=config.clip,
            loss_reduction="sum",
            poisson_sampling=False,
            noise_generator=noise,
        )
        for _ in range(config.epochs):
            for (users,) in loader:
                pieces = users.split(piece)
                for number, part in enumerate(pieces, start=1):  # clipped and summed; the last one adds the noise
                    optimizer.zero_grad()
                    loss(network, rows.index_select(0, part).to_dense()).sum().backward()
                    optimizer.signal_skip_step(do_skip=number < len(pieces))
                    optimizer.step()
        steps = tuple(engine.accountant.history)  # what was done, not what was meant to be
        epsilon = _epsilon(steps, config.delta) if multiplier else math.inf
    return torch.tensor([epsilon, multiplier])


@cache  # as below
def _epsilon(steps: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """What steps (noise multiplier, sample rate, number of steps) spend together, by Opacus' accountant."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = list(steps)
    return float(accountant.get_epsilon(delta))


def noise_multiplier(config: DPSGDConfig) -> float:
    """Noise over clip by which all steps together spend epsilon, by Opacus' accountant; 0 for an epsilon of inf."""
    if math.isinf(config.epsilon):
        return 0.0
    return _multiplier(config.epsilon, config.delta, config.batches, config.epochs)


@cache  # the search takes seconds, and trials of a study ask for the same
def _multiplier(epsilon: float, delta: float, batches: int, epochs: int) -> float:
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the search's first guesses
        return float(
            get_noise_multiplier(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=1 / batches,
                steps=epochs * batches,
                accountant="prv",
            )
        )


def halves(rows: Tensor, draw: Generator) -> tuple[Tensor, Tensor]:
    """A user's items in two parts by lot: ones at the first [B, I], and at the second as shares of one [B, I]."""
    first = rows * (torch.rand(rows.shape, generator=draw) < 0.5)
    wanted = (rows - first).sign()
    return first.sign(), wanted / wanted.sum(1, keepdim=True).clamp(min=1)
