"""dp_tower: a content tower that is trained by DP-SGD at the level of users (dp_sgd.py).

There is no parameter of a single user: she is what the network makes of the mean content of her items, and items stand
where their content, which is public, puts them. A user's items, `degree` of them at most, fall into two halves by lot
at each step: from the mean of the one the network foretells the other, by a softmax over the whole catalogue.

Letters: U users, I items, B users of a step, m directions of content.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.graph import REV_INTERACTS, operator
from gnnrec.models.base import Embeddings, check_least
from gnnrec.models.dp_sgd import DPSGDConfig, DPSGDModel, halves, train_privately
from gnnrec.models.private import bounded_history, content_directions, unit_histories
from gnnrec.models.unit import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DPTowerConfig(DPSGDConfig):
    directions: int = 128  # of content
    dim: int = 32  # of the network's middle
    epochs: int = 20
    batches: int = 5
    learning_rate: float = 0.01
    temperature: float = 0.05

    def __post_init__(self) -> None:
        DPSGDConfig.__post_init__(self)
        check_least(self, directions=1, dim=1)


class DPTower(DPSGDModel):
    config: DPTowerConfig

    def __init__(self, config: DPTowerConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("item", torch.empty(0))  # [I, m + 1] content by directions, and a constant
        self.register_buffer("down", torch.empty(0))  # [dim, m]
        self.register_buffer("up", torch.empty(0))  # [m + 1, dim]
        self.register_buffer("bias", torch.empty(0))  # [m + 1] what everybody likes

    def learn(self, graph: HeteroData, features: Tensor, noise: Generator) -> None:
        shape = (graph["user"].num_nodes, graph["item"].num_nodes)
        item = unit_rows(features @ (features.T @ content_directions(features, self.config.directions))).float()
        self.item = torch.cat([item, item.new_ones(len(item), 1)], dim=1)
        rows = unit_histories(bounded_history(graph, self.config.degree, noise), shape).float()
        network = start(self.item.shape[1], self.config.dim, noise)

        def loss(network: nn.Module, batch: Tensor) -> Tensor:
            return loss_of_halves(network, batch, self.item, self.config.temperature, noise)

        self.spent = train_privately(network, loss, rows, self.config, noise)
        self.down, self.up, self.bias = (parameter.detach().clone() for parameter in network.parameters())

    def forward(self, graph: HeteroData) -> Embeddings:
        """A user by all her items; the released network and public content are all that comes from elsewhere."""
        content = operator(graph, REV_INTERACTS, "mean") @ self.item[:, :-1]
        return Embeddings(with_one(content) + content @ self.down.T @ self.up.T + self.bias, self.item)


def start(width: int, dim: int, draw: Generator) -> nn.Module:
    """The network before the first step: [B, width - 1] -> [B, width]."""
    network = nn.Sequential(nn.Linear(width - 1, dim, bias=False), nn.Linear(dim, width))
    with torch.no_grad():  # drawn by the generator, so that nothing of the process's own state is in it
        down, up, bias = network.parameters()
        down.copy_(torch.randn(down.shape, generator=draw) / width**0.5)
        up.zero_()  # it starts as the mean of content
        bias.zero_()
    return network


def with_one(content: Tensor) -> Tensor:
    """[B, m] -> [B, m + 1]; what an item has of popularity comes by the bias alone."""
    return torch.cat([content, content.new_zeros(len(content), 1)], dim=1)


def taste(network: nn.Module, content: Tensor) -> Tensor:
    """A user's mean content [B, m] and what the network adds to it [B, m + 1]."""
    added: Tensor = network(content)
    return with_one(content) + added


def loss_of_halves(network: nn.Module, rows: Tensor, item: Tensor, temperature: float, draw: Generator) -> Tensor:
    """Of each user, cross-entropy of half her items given the other half: rows [B, I] -> [B], nobody's but her own."""
    first, wanted = halves(rows, draw)
    mean = first @ item[:, :-1] / first.sum(1, keepdim=True).clamp(min=1)
    scores = taste(network, mean) @ item.T / temperature
    return -(wanted * scores.log_softmax(1)).sum(1)
