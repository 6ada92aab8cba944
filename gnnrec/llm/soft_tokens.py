"""Soft tokens: what the graph knows of a user and of an item, as vectors that a language model reads like words.

A projector maps the graph's fused embeddings into the model's input space; the model itself stays frozen (CoLLM, Zhang
et al. 2023, whose projector is one hidden layer, too; here users and items have one each).

Letters: U users, I items, d dimensions of an embedding, w of the language model's input, n tokens.
"""

import copy

import torch
from torch import Generator, Tensor, nn

HIDDEN = 256
Vectors = tuple[Tensor, Tensor]  # of users [U, d] and of items [I, d]


class SoftTokens(nn.Module):
    """`like`: vectors of the model's own words [n, w]; a projected vector begins as their mean, nearly."""

    def __init__(self, vectors: Vectors, like: Tensor, generator: Generator) -> None:
        super().__init__()
        self._vectors = _scaled(vectors)
        self.projectors = nn.ModuleList(_projector(table.shape[1], like, generator) for table in vectors)

    def user(self, index: int) -> int:
        """The token of a user, as `LocalLM` takes it."""
        return -1 - index

    def item(self, index: int) -> int:
        return -1 - len(self._vectors[0]) - index

    def nobody(self) -> int:
        """The mean of all users: a token that is there, and says nothing of anybody."""
        return -1 - sum(map(len, self._vectors))

    def forward(self, numbers: Tensor) -> Tensor:
        """[n] -> [n, w]"""
        num_users, num_items = map(len, self._vectors)
        device, rows = next(self.parameters()).device, numbers.cpu()
        of_users = (rows < num_users) | (rows == num_users + num_items)
        everybody = torch.cat([self._vectors[0], self._vectors[0].mean(0, keepdim=True)])
        users, items = everybody[rows[of_users].clamp(max=num_users)], self._vectors[1][rows[~of_users] - num_users]
        made = [projector(table.to(device)).float() for projector, table in zip(self.projectors, (users, items))]
        place = torch.cat([of_users.nonzero()[:, 0], (~of_users).nonzero()[:, 0]]).argsort()
        return torch.cat(made)[place.to(device)]

    def reading(self, vectors: Vectors) -> "SoftTokens":
        """The same projectors over other embeddings, on the same scale."""
        other = copy.copy(self)
        other._vectors = _scaled(vectors)
        return other


def _projector(dim: int, like: Tensor, generator: Generator) -> nn.Sequential:
    first, last = nn.Linear(dim, HIDDEN), nn.Linear(HIDDEN, like.shape[1])
    with torch.no_grad():
        first.weight.normal_(0, dim**-0.5, generator=generator)
        last.weight.normal_(0, float(like.std()) * HIDDEN**-0.5, generator=generator)
        first.bias.zero_()
        last.bias.copy_(like.mean(0))
    return nn.Sequential(first, nn.GELU(), last)


def _scaled(vectors: Vectors) -> Vectors:
    users, items = (table / table.square().mean().sqrt().clamp(min=1e-12) for table in vectors)
    return users, items
