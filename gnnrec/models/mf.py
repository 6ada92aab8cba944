"""Matrix factorization: an embedding per user and item (Koren, Bell & Volinsky 2009), trained by the chosen loss."""

from dataclasses import dataclass

from torch import Generator
from torch_geometric.data import HeteroData

from gnnrec.models.base import (
    Draw,
    EmbeddingModel,
    Embeddings,
    Smoothing,
    check_choice,
    check_least,
    normal,
    rows_of,
    similarity_space,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MFConfig:
    dim: int = 64
    similarity: str = "cosine"  # cosine | dot
    init_scale: float = 1.0  # expected length of a row at the start

    def __post_init__(self) -> None:
        check_least(self, dim=1)
        check_choice("model.similarity", self.similarity, ("cosine", "dot"))


class MF(EmbeddingModel):
    movable_tables = True
    hops = 0

    def __init__(self, config: MFConfig, graph: HeteroData, generator: Generator, draw: Draw | None = None) -> None:
        super().__init__()
        self.config, self.table_width = config, config.dim
        self.user = normal((graph["user"].num_nodes, config.dim), config.init_scale, generator, draw)
        self.item = normal((graph["item"].num_nodes, config.dim), config.init_scale, generator, draw)

    def smoothing(self) -> Smoothing:
        return Smoothing(0, 0, self.config.similarity == "cosine")

    def forward(self, graph: HeteroData) -> Embeddings:
        user, item = rows_of(self.user, graph, "user"), rows_of(self.item, graph, "item")
        return similarity_space(Embeddings(user, item), self.config.similarity)
