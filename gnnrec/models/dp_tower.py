"""dp_tower: a content tower that is trained by DP-SGD at the level of users, with Opacus.

An example is a user, with all that she had: her gradient is clipped, a step sums over users drawn by lot (Poisson
sampling) and adds Gaussian noise (Abadi et al. 2016, "Deep learning with differential privacy", with users for examples
as in McMahan et al. 2018, "Learning differentially private recurrent language models"). There is no parameter of a
single user: she is what the network makes of the mean content of her items, and items stand where their content, which
is public, puts them. Opacus is right here since a user's gradient depends on nobody else; on a graph network, where a
gradient reaches over other users, its epsilon would be false, and `dp_filter` is for that.

A user's items, `degree` of them at most, fall into two halves by lot at each step: from the mean of the one the network
foretells the other, by a softmax over the whole catalogue. The number of steps is fixed, validation is not looked at.

Letters: U users, I items, B users of a step, m directions of content.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.data import TensorDataset
from torch_geometric.data import HeteroData

from gnnrec.differential.accounting import check_budget
from gnnrec.errors import missing_extra
from gnnrec.graph import REV_INTERACTS, operator
from gnnrec.models.base import Embeddings, check_above_zero, check_least
from gnnrec.models.private import (
    PrivateModel,
    bounded_history,
    content_directions,
    unit_histories,
)
from gnnrec.models.unit import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DPTowerConfig:
    epsilon: float = 4.0  # of the network, for a whole user; inf: no noise, gradients are clipped all the same
    delta: float = 1e-5  # has to be below one in all users
    degree: int = 200  # at most so many items of a user count
    directions: int = 128  # of content
    dim: int = 32  # of the network's middle
    epochs: int = 20
    batches: int = 5  # steps of an epoch; each takes every user with one chance in so many
    clip: float = 1.0  # length of a user's gradient at most
    learning_rate: float = 0.01  # of Adam
    temperature: float = 0.05  # of the softmax

    def __post_init__(self) -> None:
        check_budget(self.epsilon, self.delta)
        check_least(self, degree=2, directions=1, dim=1, epochs=1, batches=1)
        for name in ("clip", "learning_rate", "temperature"):
            check_above_zero(self, name)


class DPTower(PrivateModel):
    """Its fit is short and of fixed length, so it is fitted at once, as the closed forms are."""

    def __init__(self, config: DPTowerConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("item", torch.empty(0))  # [I, m + 1] content by directions, and a constant
        self.register_buffer("down", torch.empty(0))  # [dim, m]
        self.register_buffer("up", torch.empty(0))  # [m + 1, dim]
        self.register_buffer("bias", torch.empty(0))  # [m + 1] what everybody likes
        self.register_buffer("spent", torch.empty(0))  # epsilon and noise multiplier

    def learn(self, graph: HeteroData, features: Tensor, noise: Generator) -> None:
        shape = (graph["user"].num_nodes, graph["item"].num_nodes)
        item = unit_rows(features @ (features.T @ content_directions(features, self.config.directions))).float()
        self.item = torch.cat([item, item.new_ones(len(item), 1)], dim=1)
        rows = unit_histories(bounded_history(graph, self.config.degree, noise), shape).float().to_dense()
        network, spent = train_privately(rows, self.item, self.config, noise)
        self.down, self.up, self.bias = (parameter.detach().clone() for parameter in network.parameters())
        self.spent = torch.tensor(spent)

    def forward(self, graph: HeteroData) -> Embeddings:
        """A user by all her items; the released network and public content are all that comes from elsewhere."""
        content = operator(graph, REV_INTERACTS, "mean") @ self.item[:, :-1]
        return Embeddings(with_one(content) + content @ self.down.T @ self.up.T + self.bias, self.item)

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
    rows: Tensor, item: Tensor, config: DPTowerConfig, noise: Generator
) -> tuple[nn.Module, tuple[float, float]]:
    """The network after all epochs, and the epsilon spent and the noise multiplier.

    rows: of users over items, [U, I], zero where she had nothing. item: [I, m + 1], its last column constant.
    """
    try:
        from opacus import PrivacyEngine
        from opacus.data_loader import DPDataLoader
    except ModuleNotFoundError as error:
        raise missing_extra("dp", str(error.name)) from error
    width = item.shape[1]
    network: Any = nn.Sequential(nn.Linear(width - 1, config.dim, bias=False), nn.Linear(config.dim, width))
    with torch.no_grad():  # drawn by the generator, so that nothing of the process's own state is in it
        down, up, bias = network.parameters()
        down.copy_(torch.randn(down.shape, generator=noise) / width**0.5)
        up.zero_()  # it starts as the mean of content
        bias.zero_()
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    multiplier = noise_multiplier(config)
    # Its own Poisson sampling, since make_private would draw from torch's global generator, whose seed runs set.
    loader = DPDataLoader(TensorDataset(rows), sample_rate=1 / config.batches, generator=noise)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that its own secure mode is off (see differential/noise.py), and of torch's hooks
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
            for (batch,) in loader:
                optimizer.zero_grad()
                loss_of_halves(network, batch, item, config.temperature, noise).sum().backward()
                optimizer.step()
        epsilon = engine.get_epsilon(config.delta) if multiplier else math.inf
    return network, (epsilon, multiplier)


def noise_multiplier(config: DPTowerConfig) -> float:
    """Noise over clip by which all steps together spend epsilon, by Opacus' accountant; 0 for an epsilon of inf."""
    if math.isinf(config.epsilon):
        return 0.0
    from opacus.accountants.utils import get_noise_multiplier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the search's first guesses
        return float(
            get_noise_multiplier(
                target_epsilon=config.epsilon,
                target_delta=config.delta,
                sample_rate=1 / config.batches,
                epochs=config.epochs,
                accountant="prv",
            )
        )


def with_one(content: Tensor) -> Tensor:
    """[B, m] -> [B, m + 1]; what an item has of popularity comes by the bias alone."""
    return torch.cat([content, content.new_zeros(len(content), 1)], dim=1)


def taste(network: nn.Module, content: Tensor) -> Tensor:
    """A user's mean content [B, m] and what the network adds to it [B, m + 1]."""
    added: Tensor = network(content)
    return with_one(content) + added


def loss_of_halves(network: nn.Module, rows: Tensor, item: Tensor, temperature: float, draw: Generator) -> Tensor:
    """Of each user, cross-entropy of half her items given the other half: rows [B, I] -> [B], nobody's but her own."""
    first = rows * (torch.rand(rows.shape, generator=draw) < 0.5)
    wanted = (rows - first).sign()
    wanted = wanted / wanted.sum(1, keepdim=True).clamp(min=1)
    mean = first.sign() @ item[:, :-1] / first.sign().sum(1, keepdim=True).clamp(min=1)
    scores = taste(network, mean) @ item.T / temperature
    return -(wanted * scores.log_softmax(1)).sum(1)
