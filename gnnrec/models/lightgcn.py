"""LightGCN: embeddings smoothed over the user-item graph, the mean of all depths (He et al. 2020, eq. 3, 4, 8)."""

from dataclasses import dataclass

from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, REV_INTERACTS, operator
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
from gnnrec.models.factors import start_from_factors


@dataclass(frozen=True, slots=True, kw_only=True)
class LightGCNConfig:
    dim: int = 64
    layers: int = 3
    similarity: str = "cosine"  # cosine | dot (the paper's)
    init_scale: float = 1.0  # expected length of a row at the start
    start: str = "random"  # random (the paper's) | factors: of a few rounds of iALS (logs of up to 5 million)

    def __post_init__(self) -> None:
        check_least(self, dim=1, layers=0)
        check_choice("model.start", self.start, ("random", "factors"))
        check_choice("model.similarity", self.similarity, ("cosine", "dot"))


class LightGCN(EmbeddingModel):
    movable_tables = True

    def __init__(
        self, config: LightGCNConfig, graph: HeteroData, generator: Generator, draw: Draw | None = None
    ) -> None:
        super().__init__()
        if draw is not None and config.start != "random":
            raise UserError(f"model.start: found {config.start}; allowed with sharded or mapped tables: random")
        self.config, self.hops, self.table_width = config, config.layers, config.dim
        self.user = normal((graph["user"].num_nodes, config.dim), config.init_scale, generator, draw)
        self.item = normal((graph["item"].num_nodes, config.dim), config.init_scale, generator, draw)

    def begin(self, graph: HeteroData) -> None:
        if self.config.start == "factors":
            start_from_factors(graph, self.user, self.item, self.config.init_scale)

    def smoothing(self) -> Smoothing:
        return Smoothing(self.config.layers, 0, self.config.similarity == "cosine")

    def forward(self, graph: HeteroData) -> Embeddings:
        user, item = rows_of(self.user, graph, "user"), rows_of(self.item, graph, "item")
        smoothed = light_propagation(graph, user, item, self.config.layers)
        return similarity_space(smoothed, self.config.similarity)


def light_propagation(graph: HeteroData, user: Tensor, item: Tensor, layers: int) -> Embeddings:
    """Mean of x, Âx, Â²x, … over the user-item graph, Â normalized symmetrically: [U, d], [I, d] -> the same shapes."""
    to_user, to_item = operator(graph, REV_INTERACTS, "symmetric"), operator(graph, INTERACTS, "symmetric")
    user_sum, item_sum = user, item
    for _ in range(layers):
        user, item = to_user @ item, to_item @ user
        user_sum, item_sum = user_sum + user, item_sum + item
    return Embeddings(user_sum / (layers + 1), item_sum / (layers + 1))
