"""modality_gnn: the product's own model. Messages pass over users, items and modality nodes, and are fused per item.

1. Every modality node projects its frozen pretrained feature; an item starts as its free embedding plus those.
2. Items and users smooth each other over the interactions (LightGCN, He et al. 2020).
3. Every modality node listens to its nearest neighbours in that modality, whose items tell it what they start as; the
   item fuses what its modality nodes heard (the frozen item-item graph of FREEDOM, Zhou & Shen 2023, but one graph per
   modality and a weight per item and modality).
   Beside it the item hears the items taken together with it (as in MSCA 2026), and a user hears her friends.
4. Where the log has times, the items a user had last form her short-term interest by attention (interest.py), scored
   against a separate item embedding (as in the factorized transitions of FPMC, Rendle et al. 2010).
   With `sequence` above 0 a transformer over her last items stands beside all this, trained in the same steps
   (sequence.py).
5. With `align` above 0, the projected features of one item are pulled towards each other; with `align_item` their sum
   is pulled towards what the item has become, as in CLCRec (Wei et al. 2021), but the item stands still: content shall
   stand for it where it is cold. Both by InfoNCE against the other items of the batch.
6. Once trained, factors, slow waves of the log and paths from item to item in closed form are added as far as
   validation wants them, and items without interactions are put where their content foretells (closed_forms.py).

A user or item without training interactions has no free embedding; content, neighbours and friends carry it.

Letters: U users, I items, M modalities, n nodes of a modality, d dimensions.
"""

from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.fusion import FUSIONS, SingleFusion
from gnnrec.graph import (
    FRIEND,
    INTERACTS,
    TOGETHER,
    item_modalities,
    nodes_of,
    num_interactions,
    operator,
    owners,
    user_modalities,
)
from gnnrec.losses import align_views
from gnnrec.models.base import (
    Draw,
    Embeddings,
    check_above_zero,
    check_choice,
    check_least,
    normal,
    rows_of,
)
from gnnrec.models.closed_forms import ClosedForms
from gnnrec.models.interest import ShortTermInterest
from gnnrec.models.lightgcn import light_propagation
from gnnrec.models.modality_blocks import long_term, with_short_term
from gnnrec.models.sequence import Sequence
from gnnrec.models.unit import unit_rows
from gnnrec.recency import histories_of, last_items
from gnnrec.subgraph import Sampler

ALIGNED_ITEMS = 512  # of a batch that are held against each other; more would take longer than the step itself
BLOCK_USERS = 1024  # whose short-term interest is formed at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityGNNConfig:
    dim: int = 128
    layers: int = 3  # depth of the user-item propagation
    fusion: str = "attention"  # mean | single | concat | attention | late | cross_attention | transformer | gnn
    modality: str = ""  # which one the fusion `single` takes before the others; empty for the first by name
    similar: float = 1.0  # weight of what the modality nodes heard; 0 switches the similar edges off
    together: float = 1.0  # weight of what is taken together with an item; 0 switches the together edges off
    friend: float = 1.0  # weight of the friends' mean in a user; 0 switches the friend edges off
    recent: int = 20  # how many last items form the short-term interest; 0 switches it off
    half_life: float = 5.0  # steps back at which a recent item counts half
    heads: int = 4  # of the attention over the recent items; 0 leaves their weighted mean
    sequence: int = 0  # dimensions of a transformer over a user's last items beside the graph; 0 for none
    item_bias: bool = False  # a free score per item for everybody: for logs where a few items are everybody's
    factors: bool = True  # append the factors of iALS, weighed on validation (logs of up to 5 million interactions)
    spectrum: bool = True  # append slow waves of the log, weighed on validation (limits: spectrum.py)
    paths: bool = True  # add item-item paths in closed form, weighed on validation
    placement: bool = True  # foretell where items without interactions stand from their content, in closed form
    align: float = 0.0  # weight of the alignment of an item's modalities with each other; 0 for none
    align_item: float = 0.0  # weight of the alignment of an item's content with what the item has become; 0 for none
    align_temperature: float = 0.2
    init_scale: float = 1.0  # expected length of a free embedding, and of a projected feature, at the start

    def __post_init__(self) -> None:
        check_least(self, dim=1, layers=0, recent=0, heads=0, sequence=0, align=0.0, align_item=0.0)
        if self.heads and self.dim % self.heads:
            raise UserError(f"model.heads: found {self.heads}; allowed: 0, or a divisor of model.dim ({self.dim})")
        check_choice("model.fusion", self.fusion, tuple(FUSIONS))
        if self.modality and self.fusion != "single":
            raise UserError(f"model.modality: found {self.modality!r}; allowed with model.fusion={self.fusion}: none")
        check_above_zero(self, "half_life")
        check_above_zero(self, "align_temperature")


class ModalityGNN(ClosedForms):
    movable_tables = True
    places_new_items = places_new_users = True
    rows_of = MappingProxyType(
        {"user": "user"} | dict.fromkeys(("item", "bias", "context", "target", "sequence.item"), "item")
    )
    user_trained: Tensor  # [U] who has training interactions
    item_trained: Tensor  # [I]

    def __init__(
        self, config: ModalityGNNConfig, graph: HeteroData, generator: Generator, draw: Draw | None = None
    ) -> None:
        super().__init__(config, graph["item"].num_nodes)
        self.config, self.hops, self.table_width = config, config.layers, config.dim
        self.modalities = item_modalities(graph)
        num_users, num_items = graph["user"].num_nodes, graph["item"].num_nodes
        self.user = normal((num_users, config.dim), config.init_scale, generator, draw)
        self.item = normal((num_items, config.dim), config.init_scale, generator, draw)
        # Free embeddings of the never-trained say nothing; they are switched off rather than left as noise.
        self.register_buffer("user_trained", num_interactions(graph, "user") > 0)
        self.register_buffer("item_trained", num_interactions(graph, "item") > 0)
        self.project = nn.ModuleDict()
        for modality in (*self.modalities, *user_modalities(graph)):
            width = graph[modality].x.shape[1]
            self.project[modality] = layer = nn.Linear(width, config.dim, bias=False)
            nn.init.normal_(layer.weight, std=config.init_scale / (config.dim * width) ** 0.5, generator=generator)
        self.fusion = FUSIONS[config.fusion](config.dim, max(len(self.modalities), 1), generator)
        if isinstance(self.fusion, SingleFusion) and config.modality:
            check_choice("model.modality", config.modality, self.modalities)
            self.fusion.first = self.modalities.index(config.modality)
        self.bias = nn.Parameter(torch.zeros(num_items, 1)) if config.item_bias else None
        self.ordered = config.recent > 0 and "time" in graph[INTERACTS]
        if self.ordered:
            self.window = config.recent
            self.context = normal((num_items, config.dim), config.init_scale, generator, draw)
            self.target = normal((num_items, config.dim), config.init_scale, generator, draw)
            self.interest = ShortTermInterest(config.dim, config.recent, config.heads, config.half_life, generator)
        self.sequence = Sequence(config.sequence, graph, generator) if self.ordered and config.sequence else None

    def sampler(self, graph: HeteroData, fanout: tuple[int, ...]) -> Sampler:
        if self.sequence is not None:  # a piece of the graph does not hold the windows of histories
            raise UserError(f"model.sequence: found {self.config.sequence}; allowed with sampled pieces: 0")
        return super().sampler(graph, fanout)

    def asked(self, graph: HeteroData) -> Embeddings:
        """Where neighbours put everything: placement is fitted to items that have all of their content, and waves know
        nothing of a query and are the longer the more popular an item is."""
        return self._near(graph, slice(None))

    def forward(self, graph: HeteroData) -> Embeddings:
        return self.of_users(graph, slice(None))

    def of_users(self, graph: HeteroData, users: slice) -> Embeddings:
        return self.with_new_items(graph, self.with_waves(graph, self._near(graph, users), users))

    def _near(self, graph: HeteroData, users: slice) -> Embeddings:
        return self.with_factors(graph, self._with_short_term(graph, self._long_term(graph), users), users)

    def in_blocks(self, graph: HeteroData) -> Embeddings:
        if self.sequence is not None:  # its part is made whole
            return self(graph)
        return self.closed_forms_in_blocks(graph, with_short_term(self, graph, long_term(self, graph)))

    def _with_short_term(self, graph: HeteroData, embeddings: Embeddings, users: slice) -> Embeddings:
        if not self.ordered:
            return embeddings._replace(user=embeddings.user[users])
        chosen = torch.arange(graph["user"].num_nodes, device=embeddings.user.device)[users]
        ends = histories_of(graph).size
        blocks = [self.with_interest(graph, embeddings, block, ends[block]) for block in chosen.split(BLOCK_USERS)]
        embeddings = embeddings._replace(user=torch.cat(blocks))
        return embeddings if self.sequence is None else self.sequence.beside(graph, embeddings, users)

    def training_pass(self, graph: HeteroData, generator: Generator) -> Embeddings:
        return self._long_term(graph)

    def batches(self, graph: HeteroData, size: int, generator: Generator) -> tuple[Tensor, ...]:
        """With a sequence its windows, so that one pass over each serves all interactions in it."""
        if self.sequence is None:
            return super().batches(graph, size, generator)
        return self.sequence.batches(graph, size, generator)

    def _long_term(self, graph: HeteroData) -> Embeddings:
        """Where the log has an order, users without their short-term interest: `queries` adds that of a batch."""
        item_start = self._item_start(graph)
        user_start = self._user_start(graph)
        user, item, *_ = light_propagation(graph, user_start, item_start, self.config.layers)
        if self.config.friend and FRIEND in graph.edge_types:
            user = user + self.config.friend * (operator(graph, FRIEND, "mean") @ user_start)
        if self.config.similar and self.modalities:
            tokens, mask = self._tokens(graph, item_start)
            item = item + self.config.similar * self.fusion(tokens, mask)[0]
        if self.config.together and TOGETHER in graph.edge_types:
            item = item + self.config.together * (operator(graph, TOGETHER, "mean") @ item_start)
        # A user of whom nothing is known stands where the average user stands.
        unknown = user.detach().abs().sum(1, keepdim=True) == 0
        user = unit_rows(torch.where(unknown, user.mean(0, keepdim=True), user))
        item = unit_rows(item)
        user_parts, item_parts, context = [user], [item], None
        if self.ordered:
            context = self._free(graph, "item", self.context) + item
            item_parts.append(unit_rows(self._free(graph, "item", self.target) + item))
        if self.bias is not None:
            user_parts.append(user.new_ones(len(user), 1))
            item_parts.append(self._free(graph, "item", self.bias))
        return Embeddings(torch.cat(user_parts, dim=1), torch.cat(item_parts, dim=1), context)

    def queries(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor:
        users = graph[INTERACTS].edge_index[0, interactions]
        if embeddings.context is None:
            return embeddings.user[users]
        return self.with_interest(graph, embeddings, users, histories_of(graph).place[interactions])

    def auxiliary_loss(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor | None:
        aligned = self._alignment(graph, embeddings, interactions)
        if self.sequence is None:
            return aligned
        loss = self.sequence.loss(graph, interactions)
        return loss if aligned is None else loss + aligned

    def _alignment(self, graph: HeteroData, embeddings: Embeddings, interactions: Tensor) -> Tensor | None:
        """Of the first ALIGNED_ITEMS items of the batch, each once; what was filled in is not aligned."""
        config = self.config
        if not (config.align or config.align_item) or not self.modalities:
            return None
        items = torch.unique(graph[INTERACTS].edge_index[1, interactions[:ALIGNED_ITEMS]])
        views = self._content_views(graph, items)
        loss = config.align * align_views(views, config.align_temperature)
        if config.align_item:
            content = torch.stack([rows * there[:, None] for rows, there in views]).sum(0)
            known = torch.stack([there for _, there in views]).any(0)
            fused = [(content, known), (embeddings.item[items, : config.dim].detach(), known)]
            loss = loss + config.align_item * align_views(fused, config.align_temperature)
        return loss

    def _content_views(self, graph: HeteroData, items: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Of each modality the projected features of the items [n, d], and which ones have the content [n]."""
        views = []
        for modality in self.modalities:
            nodes = nodes_of(graph, modality)[items]
            there = (nodes >= 0) & ~graph[modality].imputed[nodes]
            views.append((self.project[modality](graph[modality].x[nodes]), there))
        return views

    def with_interest(self, graph: HeteroData, embeddings: Embeddings, users: Tensor, end: Tensor) -> Tensor:
        """Users [B] as they were at place `end` [B] of their histories: long-term, short-term, the bias's constant."""
        assert embeddings.context is not None
        items, there = last_items(histories_of(graph), users, end, self.config.recent)
        recent = self.interest(embeddings.context, items, there)
        user, dim = embeddings.user[users], self.config.dim
        return torch.cat([user[:, :dim], recent, user[:, dim:]], dim=1)

    @torch.no_grad()
    def modality_weights(self, graph: HeteroData) -> tuple[Tensor, Tensor]:
        """What each modality weighs in each item [I, M] (rows sum to 1), and which ones the item has [I, M]."""
        tokens, mask = self._tokens(graph, self._item_start(graph))
        return self.fusion(tokens, mask)[1], mask

    def _item_start(self, graph: HeteroData) -> Tensor:
        content = self._content(graph, self.modalities, graph["item"].num_nodes)
        return self._free(graph, "item", self.item) + content

    def _user_start(self, graph: HeteroData) -> Tensor:
        content = self._content(graph, user_modalities(graph), graph["user"].num_nodes)
        return self._free(graph, "user", self.user) + content

    def _free(self, graph: HeteroData, node_type: str, table: Tensor) -> Tensor:
        """The free embeddings of users or items, zero for the untrained and for those that joined later."""
        trained = self.user_trained if node_type == "user" else self.item_trained
        if "n_id" in graph[node_type]:
            return rows_of(table, graph, node_type) * trained[graph[node_type].n_id, None]
        return F.pad(table * trained[:, None], (0, 0, 0, graph[node_type].num_nodes - len(table)))

    def _content(self, graph: HeteroData, modalities: tuple[str, ...], size: int) -> Tensor:
        """Sum of the projected features, scaled up where some of them are missing. [size, d]"""
        total = self.user.new_zeros(size, self.config.dim)
        present = self.user.new_zeros(size, 1)
        for modality in modalities:
            index = owners(graph, modality)
            total = total.index_add(0, index, self.project[modality](graph[modality].x))
            present = present.index_add(0, index, present.new_ones(len(index), 1))
        return total * (len(modalities) / present.clamp(min=1))

    def _tokens(self, graph: HeteroData, item_start: Tensor) -> tuple[Tensor, Tensor]:
        """What the modality nodes of each item heard from their neighbours: tokens [I, M, d], mask [I, M]."""
        tokens, masks = [], []
        for modality in self.modalities:
            index = owners(graph, modality)
            nodes = item_start[index]  # item -> its modality node
            heard = torch.ones(len(index), dtype=torch.bool, device=index.device)
            if (similar := (modality, "similar", modality)) in graph.edge_types:
                listen = operator(graph, similar, "mean")
                nodes, heard = listen @ nodes, listen.offsets.diff() > 0  # who has no neighbour heard nothing
            tokens.append(item_start.new_zeros(item_start.shape).index_copy(0, index, nodes))
            masks.append(
                torch.zeros(len(item_start), dtype=torch.bool, device=index.device).index_copy(0, index, heard)
            )
        return torch.stack(tokens, dim=1), torch.stack(masks, dim=1)
