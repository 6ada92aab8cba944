"""SASRec: a causal transformer over a user's last items (Kang & McAuley 2018, "Self-Attentive Sequential
Recommendation", section III).

Deviations:
- The loss is the trainer's. With the softmax over the catalogue SASRec is as good as BERT4Rec (Klenitskiy & Vasilev
  2023); it replaces the many negatives and the generalized BCE of gSASRec (Petrov & Macdonald 2023), whose point is to
  be calibrated although most of the catalogue is never drawn.
- Places are known by distance: a learned bias per head and number of steps back (T5, Raffel et al. 2020, without its
  buckets) stands for the learned positions, so that one pass over a window serves every interaction in it alike,
  wherever the window begins.
- A start token stands before everybody's first item; it is what is known of a user without a history.
- Cosines by default, as in the other models; "dot" is the paper's.

Letters: U users, I items, E interactions, B a batch, W windows, L their length, C queries of a window, H heads,
d dimensions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS
from gnnrec.models.base import (
    EmbeddingModel,
    Embeddings,
    check_choice,
    check_least,
    check_order,
    normal,
    similarity_space,
)
from gnnrec.models.unit import unit_rows
from gnnrec.recency import Histories, histories_of

BLOCK_USERS = 1024  # encoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SASRecConfig:
    dim: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50  # how many of a user's last items are looked at
    dropout: float = 0.2
    similarity: str = "cosine"  # cosine | dot (the paper's)
    init_scale: float = 1.0  # expected length of an item's row at the start

    def __post_init__(self) -> None:
        check_least(self, dim=1, layers=1, heads=1, length=1)
        check_choice("model.similarity", self.similarity, ("cosine", "dot"))
        if self.dim % self.heads:
            raise UserError(f"model.heads: found {self.heads}; allowed: a divisor of model.dim ({self.dim})")
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout: found {self.dropout}; allowed: from 0, below 1")


class SASRec(EmbeddingModel):
    places_new_users = True

    def __init__(self, config: SASRecConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        check_order(graph, "sasrec")
        self.config = config
        self.num_queries = (config.length + 1) // 2  # of a window; each sees at least the other half before it
        self.item = normal((graph["item"].num_nodes, config.dim), config.init_scale, generator)
        self.start = normal((1, config.dim), config.init_scale, generator)
        self.blocks = nn.ModuleList(_Block(config, generator) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, graph: HeteroData) -> Embeddings:
        """Everybody as she is after the last of her interactions in `graph`."""
        histories = histories_of(graph)
        users = torch.arange(len(histories.size), device=histories.size.device)
        table = self._tokens(graph)
        encoded = [
            self._encode(table, *self._window(table, histories, block, histories.size[block]))[:, -1]
            for block in users.split(BLOCK_USERS)
        ]
        return similarity_space(Embeddings(torch.cat(encoded), self.item_rows(graph)), self.config.similarity)

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        return self.items_alone(graph)

    def items_alone(self, graph: HeteroData) -> Embeddings:
        """Items only: `queries` encodes the users of a batch, and there may be many others."""
        items = self.item_rows(graph)
        return similarity_space(Embeddings(items[:0], items), self.config.similarity)

    def item_rows(self, graph: HeteroData) -> Tensor:
        """The free embeddings of the graph's items, zero for those that joined later. [I, d]"""
        return F.pad(self.item, (0, 0, 0, graph["item"].num_nodes - len(self.item)))

    def batches(self, graph: HeteroData, size: int, generator: Generator) -> tuple[Tensor, ...]:
        """Interactions of one window stand together, windows in random order: one pass over each serves them all."""
        user, place = graph[INTERACTS].edge_index[0].cpu(), histories_of(graph).place.cpu()
        window = torch.unique(torch.stack([user, place // self.num_queries]), dim=1, return_inverse=True)[1]
        rank = torch.randperm(int(window.max()) + 1, generator=generator)
        return rank[window].argsort(stable=True).split(size)

    def queries(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        histories = histories_of(graph)
        user, place = graph[INTERACTS].edge_index[0, interactions], histories.place[interactions]
        pairs = torch.stack([user, place // self.num_queries])
        (users, number), window = torch.unique(pairs, dim=1, return_inverse=True)
        # The last interaction that a window serves; the item of that one is not in it.
        end = torch.minimum((number + 1) * self.num_queries, histories.size[users]) - 1
        # The same batch draws the same masks, so that a resumed training goes on bit for bit.
        generator = Generator(user.device).manual_seed(int(interactions.sum())) if self.training else None
        table = self._tokens(graph)
        encoded = self._encode(table, *self._window(table, histories, users, end), generator)  # [W, L, d]
        query = encoded[window, encoded.shape[1] - 1 - (end[window] - place)]
        return unit_rows(query) if self.config.similarity == "cosine" else query

    def _tokens(self, graph: HeteroData) -> Tensor:
        """What is told of each item, and in the last row of the start token. [I + 1, d]"""
        return torch.cat([self.item_rows(graph), self.start])

    def _window(self, table: Tensor, histories: Histories, users: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """The L tokens before place `end` [W] of each user's [W] history: items [W, L], and which ones are real.

        Place -1 holds the start token, the last row of `table`; what would come before it is not real. L is shorter
        than the setting where no history in the batch is as long.
        """
        length = min(self.config.length, int(end.max()) + 1)
        place = end[:, None] + torch.arange(-length, 0, device=end.device)  # [W, L]
        begun = place >= 0
        item = histories.item[torch.where(begun, histories.start[users, None] + place, -1)]
        return torch.where(begun, item, len(table) - 1), place >= -1

    def _encode(self, table: Tensor, tokens: Tensor, real: Tensor, generator: Generator | None = None) -> Tensor:
        """The state after each token, from it and those before it: [W, L] -> [W, L, d]. Dropout with a generator."""
        length = tokens.shape[1]
        step = torch.arange(length, device=tokens.device)
        distance = step[:, None] - step  # [L, L] from the listening token back to the one it listens to
        # What is not real listens to itself, so that its softmax is one of something.
        heard = (distance >= 0) & (real[:, None, :] | (distance == 0))  # [W, L, L]
        rate = self.config.dropout if generator is not None else 0.0
        x = F.embedding(tokens, table) * self.config.dim**0.5
        x = dropout(x, rate, generator)
        for block in self.blocks:
            x = block(x, heard, distance.clamp(min=0), rate, generator)
        states: Tensor = self.norm(x)
        return states


class _Block(nn.Module):
    """Self-attention and a feed-forward layer, each normalized before and added to what comes in (pre-norm)."""

    def __init__(self, config: SASRecConfig, generator: Generator) -> None:
        super().__init__()
        dim, self.heads = config.dim, config.heads
        self.attention_norm, self.hidden_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.parts, self.joined = _linear(dim, 3 * dim, generator), _linear(dim, dim, generator)
        self.bias = nn.Parameter(torch.zeros(self.heads, config.length))  # of listening so many steps back
        self.hidden, self.out = _linear(dim, 4 * dim, generator), _linear(4 * dim, dim, generator)

    def forward(self, x: Tensor, heard: Tensor, distance: Tensor, rate: float, generator: Generator | None) -> Tensor:
        num_windows, length, dim = x.shape
        parts = self.parts(self.attention_norm(x)).view(num_windows, length, 3, self.heads, dim // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # [W, H, L, d / H] each
        scores = query @ key.transpose(2, 3) / (dim // self.heads) ** 0.5 + self.bias[:, distance]  # [W, H, L, L]
        weights = scores.masked_fill(~heard[:, None], -torch.inf).softmax(dim=3)
        mixed = (dropout(weights, rate, generator) @ value).transpose(1, 2).reshape(num_windows, length, dim)
        x = x + dropout(self.joined(mixed), rate, generator)
        return x + dropout(self.out(F.gelu(self.hidden(self.hidden_norm(x)))), rate, generator)


def _linear(width: int, height: int, generator: Generator) -> nn.Linear:
    layer = nn.Linear(width, height)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def dropout(x: Tensor, rate: float, generator: Generator | None) -> Tensor:
    """Each entry 0 with probability `rate`, the others scaled up; torch's own dropout takes no generator."""
    if not rate:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= rate
    return x * kept / (1 - rate)
