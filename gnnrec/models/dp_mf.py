"""dp_mf: matrix factorization whose item factors are learnt by DP-SGD at the level of users (dp_sgd.py).

Users have no parameters, and no vector of a user is released: she is solved by ridge regression from the item factors
and her own history, at each step of the training and whenever she is asked for, as in alternating least squares (Hu,
Koren & Volinsky 2008; Chien et al. 2021, "Private alternating least squares", who release the item side alone, too). So
a user's example is her whole history, and her gradient depends on nobody else.

A user's items, `degree` of them at most, fall into two halves by lot at each step: she is solved from the one and
foretells the other by a softmax over the whole catalogue. Its gradient goes to the item factors and their biases, not
through her. Factors start where their content, which is public, puts them, and at random where there is none.

Letters: U users, I items, B users of a step, d dimensions.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.graph import interactions_of
from gnnrec.models.base import Embeddings, check_above_zero, check_least
from gnnrec.models.dp_sgd import DPSGDConfig, DPSGDModel, halves, train_privately
from gnnrec.models.ials import solved_users
from gnnrec.models.private import bounded_history, content_directions, unit_histories
from gnnrec.models.unit import unit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DPMFConfig(DPSGDConfig):
    dim: int = 64
    l2: float = 10.0  # of the regression that solves a user

    def __post_init__(self) -> None:
        DPSGDConfig.__post_init__(self)
        check_least(self, dim=1)
        check_above_zero(self, "l2")


class DPMF(DPSGDModel):
    config: DPMFConfig

    def __init__(self, config: DPMFConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("item", torch.empty(0))  # [I, d]
        self.register_buffer("bias", torch.empty(0))  # [I] what everybody likes

    def learn(self, graph: HeteroData, features: Tensor, noise: Generator) -> None:
        shape = (graph["user"].num_nodes, graph["item"].num_nodes)
        rows = unit_histories(bounded_history(graph, self.config.degree, noise), shape).float()
        network = start(features, self.config.dim, noise)

        def loss(network: nn.Module, batch: Tensor) -> Tensor:
            return loss_of_halves(network, batch, self.config.l2, self.config.temperature, noise)

        self.spent = train_privately(network, loss, rows, self.config, noise)
        self.item, self.bias = (parameter.detach().clone() for parameter in network.parameters())

    def forward(self, graph: HeteroData) -> Embeddings:
        """A user by all her items; the released factors are all that comes from elsewhere."""
        base = self.config.l2 * torch.eye(self.item.shape[1], dtype=torch.float64)
        user = solved_users(interactions_of(graph).matrix(), self.item, base, weight=1.0, gain=1.0)
        user = torch.cat([user, user.new_ones(len(user), 1)], dim=1)
        return Embeddings(user, torch.cat([self.item, self.bias[:, None]], dim=1))


def start(features: Tensor, dim: int, draw: Generator) -> nn.Module:
    """Item factors and biases as a layer, before the first step: users [B, d] -> scores [B, I]."""
    basis = torch.linalg.qr(features.T @ content_directions(features, dim))[0]  # [w, at most d]
    content = unit_rows(features @ basis).float()  # inner products of content, as near as d dimensions come to them
    network = nn.Linear(dim, len(features))
    with torch.no_grad():  # drawn by the generator, so that nothing of the process's own state is in it
        factors, bias = network.parameters()
        factors.copy_(torch.randn(factors.shape, generator=draw) / dim**0.5)
        known = content.any(1)
        factors[known] = nn.functional.pad(content[known], (0, dim - content.shape[1]))
        bias.zero_()
    return network


def solved(mine: Tensor, l2: float) -> Tensor:
    """(sum of y y' + l2)^-1 sum of y over the factors y of a user's n items, of which some may be zero. [B, n, d] ->
    [B, d]"""
    left = mine.mT @ mine + l2 * torch.eye(mine.shape[2])
    user: Tensor = torch.linalg.solve(left, mine.sum(1))
    return user


def loss_of_halves(network: nn.Module, rows: Tensor, l2: float, temperature: float, draw: Generator) -> Tensor:
    """Of each user, cross-entropy of half her items given the other half: rows [B, I] -> [B], nobody's but her own."""
    first, wanted = halves(rows, draw)
    item = next(network.parameters()).detach()  # [I, d]
    most = int(first.sum(1).max()) if len(first) else 0
    there, which = first.topk(most, dim=1)  # [B, n], her items of the first half come before those that are none
    scores = network(solved(item[which] * there[:, :, None], l2)) / temperature
    return -(wanted * scores.log_softmax(1)).sum(1)
