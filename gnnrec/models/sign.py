"""sign: content carried over the graph before the training, so that a step needs the rows of its own batch alone.

Frasca et al. 2020, "SIGN: Scalable Inception Graph Neural Networks", eq. 4 and 5: of each hop a linear map, a
non-linearity (PReLU), all hops side by side, a linear map. Here one such network for users (hops 1, 3, …) and one for
items (hops 0, 2, …), trained on pairs instead of labels; a score is the cosine. No free embeddings: what is not in the
content of items and in who had them is not known.

Letters: N users or items, K hops of one side, d dimensions, w of the features of all modalities.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.fusion import linear
from gnnrec.graph_hops import hops_of
from gnnrec.models.base import EmbeddingModel, Embeddings, check_least
from gnnrec.models.layerwise import made
from gnnrec.models.unit import unit_rows
from gnnrec.sampling.csr import Array
from gnnrec.subgraph import Sampler, sampler_of

BLOCK = 65_536  # rows of the hops that are read at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class SignConfig:
    dim: int = 128
    hops: int = 3  # how far content is carried

    def __post_init__(self) -> None:
        check_least(self, dim=1, hops=1)


class Sign(EmbeddingModel):
    hops = 0  # of messages in a training step
    places_new_items = True

    def __init__(self, config: SignConfig, graph: HeteroData, generator: Generator) -> None:
        super().__init__()
        self.config, self.table_width = config, config.dim
        tables = hops_of(graph, config.hops)
        width = tables.item[0].shape[1]
        self.user = Side(width, len(tables.user), config.dim, generator)
        self.item = Side(width, len(tables.item), config.dim, generator)

    def forward(self, graph: HeteroData) -> Embeddings:
        tables = hops_of(graph, self.config.hops)
        return Embeddings(self.user(tables.user), self.item(tables.item))

    def in_blocks(self, graph: HeteroData) -> Embeddings:
        tables = hops_of(graph, self.config.hops)
        return Embeddings(self.user.in_blocks(tables.user), self.item.in_blocks(tables.item))

    def sampler(self, graph: HeteroData, fanout: tuple[int, ...]) -> Sampler:
        return sampler_of(graph, fanout, hops_of(graph, self.config.hops), content=False)


class Side(nn.Module):
    """One network: hops [N, w] each -> rows of length one [N, d]."""

    def __init__(self, width: int, num_hops: int, dim: int, generator: Generator) -> None:
        super().__init__()
        self.map = nn.ModuleList(linear(width, dim, generator) for _ in range(num_hops))
        self.bend = nn.PReLU()
        self.out = linear(num_hops * dim, dim, generator)

    def forward(self, tables: tuple[Array | Tensor, ...]) -> Tensor:
        blocks = range(0, max(len(tables[0]), 1), BLOCK)
        return torch.cat([self._block([table[first : first + BLOCK] for table in tables]) for first in blocks])

    def in_blocks(self, tables: tuple[Array | Tensor, ...]) -> Tensor:
        shape = (len(tables[0]), self.out.out_features)
        return made(shape, lambda rows: self._block([table[rows] for table in tables]))

    def _block(self, tables: list[Array | Tensor]) -> Tensor:
        device = self.out.weight.device
        rows = [
            table if isinstance(table, Tensor) else torch.from_numpy(np.array(table)).to(device) for table in tables
        ]
        hidden = [self.bend(layer(part)) for layer, part in zip(self.map, rows, strict=True)]
        return unit_rows(self.out(torch.cat(hidden, dim=1)))
