"""The heterogeneous graph: users, items and one node per item and modality, as torch_geometric's HeteroData.

Only training interactions become edges. Node types: user, item, and each modality by its name (text, image, audio, …;
user content: user_text, …). Edge types, each pointing the way its messages flow:

    (user, interacts, item)   (item, rev_interacts, user)    `time` [E] where the log has timestamps
    (item, has_text, text)    (text, rev_has_text, item)     one edge per item that has the modality
    (text, similar, text)                                    the k nearest by cosine -> the node that listens
    (item, together, item)                                   the k most often taken together with an item -> the item,
                                                             or the k that random walks from it come to most often
    (user, has_user_text, user_text) and back, (user, friend, user)

Letters: U users, I items, E interactions, n nodes of a modality, d feature dimensions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec import scratch
from gnnrec.datasets.interactions import Interactions
from gnnrec.encoders.features import Features, mean_and_scale
from gnnrec.errors import UserError
from gnnrec.propagate import SparseOperator, normalize_edges
from gnnrec.robust import trusted_rows

INTERACTS = ("user", "interacts", "item")
REV_INTERACTS = ("item", "rev_interacts", "user")
FRIEND = ("user", "friend", "user")
TOGETHER = ("item", "together", "item")
NEIGHBOR_BLOCK, WIDE = 2048, 32_768  # rows of the similarity matrix held at a time, of so many columns; fewer of more
TOGETHER_BY = ("cosine", "visits")
WALK_STEPS, WALK_RESTART, WALK_SEED = 1_000, 0.5, 0  # of each item
MISSING = ("propagate", "zero", "mean", "drop")  # from co-consumed items | zeros as raw | the mean of all | no node


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphConfig:
    neighbors: int = 10  # k of the nearest-neighbour edges in each modality; 0 for none
    together: int = 10  # k of the item-item edges by common users; 0 for none
    together_by: str = "cosine"  # of the two items' users | visits: how often random walks from an item come to another
    mutual: bool = False  # keep an edge only where both ends chose each other
    min_similarity: float = 0.0  # cosine of standardized features, 0 to 1; edges that are not above it are left out
    missing: str = "propagate"  # what stands for an item's missing content, see MISSING
    friends: bool = True  # use user-user edges where the data has them
    descriptions: bool = False  # pictures and sounds in words as a modality of items, `description` (words/)
    transcripts: bool = False  # speech in sounds as a modality of items, `transcript` (words/)
    robust: float = 0.0  # share of users that may be false; rows that they could be behind are left out, see robust.py
    profiles: bool = False  # what training users like in words as a modality of items and of users, `profile` (words/)

    def __post_init__(self) -> None:
        if self.missing not in MISSING:
            raise UserError(f"graph.missing: found {self.missing!r}; allowed: {', '.join(MISSING)}")
        if self.together_by not in TOGETHER_BY:
            raise UserError(f"graph.together_by: found {self.together_by!r}; allowed: {', '.join(TOGETHER_BY)}")
        for key in ("neighbors", "together"):
            if getattr(self, key) < 0:
                raise UserError(f"graph.{key}: found {getattr(self, key)}; allowed: 0 or more")
        if not 0 <= self.robust < 0.5:
            raise UserError(f"graph.robust: found {self.robust}; allowed: from 0, below 0.5")
        if not 0 <= self.min_similarity <= 1:
            raise UserError(f"graph.min_similarity: found {self.min_similarity}; allowed: 0 to 1")


def build_graph(
    train: Interactions,
    item_features: Mapping[str, Features],
    user_features: Mapping[str, Features] | None = None,
    friends: NDArray[np.int32] | None = None,
    config: GraphConfig | None = None,
) -> HeteroData:
    """The graph of the training interactions and of everybody's content."""
    config = config or GraphConfig()
    if config.robust:
        train = trusted_rows(train, item_features, config.robust)
    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = train.num_users, train.num_items
    add_interactions(graph, train)
    for modality, features in item_features.items():
        if modality in ("user", "item") or modality.startswith("user_") or {"/", "."} & set(modality):
            raise UserError(f"features.{modality}: allowed: a name without / and . that is not user, item or user_…")
        _add_modality(graph, "item", modality, features, config)
    for modality, features in (user_features or {}).items():
        _add_modality(graph, "user", f"user_{modality}", features, config)
    if config.together:
        choose = together_edges if config.together_by == "cosine" else visited_edges
        edges, weight = choose(train, config.together)
        graph[TOGETHER].edge_index, graph[TOGETHER].edge_weight = edges, weight
    if friends is not None and friends.size and config.friends:
        pairs = torch.from_numpy(np.ascontiguousarray(friends)).long()
        graph[FRIEND].edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    return graph


def add_interactions(graph: HeteroData, log: Interactions) -> None:
    """Set the interaction edges of `graph`, both ways, in the order of the log. Both share their memory.

    Of a long log that is a scratch file.
    """
    rows = torch.from_numpy(scratch.of_log((3, len(log)), np.int64))
    for row, column in zip(rows, (log.user, log.item, log.user)):
        row.numpy()[:] = column
    time = None
    if log.timestamp is not None:
        time = torch.from_numpy(scratch.of_log((len(log),), np.int64))
        time.numpy()[:] = log.timestamp
    for edge_type, index in ((INTERACTS, rows[:2]), (REV_INTERACTS, rows[1:])):
        graph[edge_type].edge_index = index
        if time is not None:
            graph[edge_type].time = time


def with_interactions(graph: HeteroData, log: Interactions) -> HeteroData:
    """The same nodes and content with other interactions: what a model sees once a user's history has grown."""
    grown = with_edges(graph, {INTERACTS: {}, REV_INTERACTS: {}})
    add_interactions(grown, log)
    return grown


def with_edges(graph: HeteroData, edges: Mapping[tuple[str, str, str], Mapping[str, Tensor]]) -> HeteroData:
    """A graph of its own with the same nodes, content and edges, those of the given types replaced (by {}: none)."""
    changed = HeteroData()
    for node_type in graph.node_types:
        changed[node_type].update(graph[node_type].to_dict())
    for edge_type in graph.edge_types:
        # Not what was made from the old edges and stands beside them: see `operator`.
        changed[edge_type].update(edges[edge_type] if edge_type in edges else graph[edge_type].to_dict())
    return changed


def item_modalities(graph: HeteroData) -> tuple[str, ...]:
    """Names of the item modalities in the graph, in alphabetical order: the order of every modality dimension."""
    return _content_of(graph, "item")


def user_modalities(graph: HeteroData) -> tuple[str, ...]:
    """Node types of the users' content."""
    return _content_of(graph, "user")


def _content_of(graph: HeteroData, owner: str) -> tuple[str, ...]:
    return tuple(
        sorted(target for source, name, target in graph.edge_types if (source, name) == (owner, f"has_{target}"))
    )


def owners(graph: HeteroData, modality: str) -> Tensor:
    """Index of the item (or user) that each node of a modality belongs to. [n]"""
    owner = "user" if modality.startswith("user_") else "item"
    return graph[owner, f"has_{modality}", modality].edge_index[0]


def nodes_of(graph: HeteroData, modality: str) -> Tensor:
    """Index of each item's (or user's) node of a modality, -1 where there is none. [I]"""
    index = owners(graph, modality)
    owner = "user" if modality.startswith("user_") else "item"
    nodes = torch.full((graph[owner].num_nodes,), -1, device=index.device)
    return nodes.index_copy(0, index, torch.arange(len(index), device=index.device))


def operator(graph: HeteroData, edge_type: tuple[str, str, str], normalize: str) -> SparseOperator:
    """Â of one edge type, [targets, sources], made once per graph and kept beside the edges it was made from.

    `normalize`: symmetric | mean | none. Repeated (user, item) pairs count once.
    """
    store, key = graph[edge_type], f"operator_{normalize}"
    if key not in store and "sampled" in store:  # a piece of a graph, see subgraph.py
        store[key] = store.sampled.operator(normalize)
    elif key not in store and edge_type in (INTERACTS, REV_INTERACTS):
        store[key] = _pairs_once(
            store.edge_index, graph[edge_type[2]].num_nodes, graph[edge_type[0]].num_nodes, normalize
        )
    elif key not in store:
        source, target = store.edge_index
        shape = (graph[edge_type[2]].num_nodes, graph[edge_type[0]].num_nodes)
        weight = store.edge_weight if "edge_weight" in store else torch.ones(len(source), device=source.device)
        weight = normalize_edges(source, target, weight, shape, normalize)
        store[key] = SparseOperator.from_edges(source, target, weight, shape)
    made: SparseOperator = store[key]
    return made


def _pairs_once(edge_index: Tensor, num_rows: int, num_columns: int, normalize: str) -> SparseOperator:
    """Each pair of the edges [2, E] once, normalized. In SciPy's indexes of 32 bits: a log may have many rows."""
    if scratch.is_large_log(edge_index.shape[1]) and edge_index.device.type == "cpu":
        from gnnrec.sampling.long_log import operator_of  # numba takes half a second to import

        source, target = edge_index.numpy()
        return operator_of(target, source, num_rows, num_columns, normalize)
    source, target = (side.to(dtype=torch.int32, device="cpu").numpy() for side in edge_index)
    ones = np.ones(len(source), dtype=np.int8)
    matrix = csr_array((ones, (target, source)), shape=(num_rows, num_columns))
    matrix.sum_duplicates()
    offsets, columns = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
    rows = torch.repeat_interleave(torch.arange(num_rows, dtype=torch.int32), offsets.diff())
    weight = normalize_edges(columns, rows, torch.ones(len(columns)), (num_rows, num_columns), normalize)
    return SparseOperator(offsets, columns, weight, (num_rows, num_columns)).to(edge_index.device)


def num_interactions(graph: HeteroData, node_type: str) -> Tensor:
    """How many interactions each user or item has in the graph. [U] or [I]"""
    position = 0 if node_type == "user" else 1
    edges: Tensor = graph[INTERACTS].edge_index[position]
    return torch.bincount(edges, minlength=graph[node_type].num_nodes)


def _add_modality(graph: HeteroData, owner: str, modality: str, features: Features, config: GraphConfig) -> None:
    values, known = torch.from_numpy(features.values), torch.from_numpy(features.mask)
    if not known.any():
        return
    # Standardized per dimension: encoders leave a large common mean, which would make everything similar to all.
    mean, scale = mean_and_scale(_taken(values, known))
    values = _made(values, lambda rows: torch.where(known[rows, None], (values[rows] - mean) / scale, torch.zeros(())))
    present = known
    if owner == "item" and not known.all():
        if config.missing == "propagate":
            values, present = propagate_features(values, known, graph)
        elif config.missing != "drop":
            fill = -mean / scale if config.missing == "zero" else torch.zeros(())  # standardized, the mean is zero
            values, present = torch.where(known[:, None], values, fill), torch.ones_like(known)
    index = present.nonzero().squeeze(1)
    nodes = graph[modality]
    nodes.x, nodes.num_nodes, nodes.imputed = _taken(values, present), len(index), ~known[index]
    nodes.mean, nodes.scale = mean, scale
    edge_index = torch.stack([index, torch.arange(len(index))])
    graph[owner, f"has_{modality}", modality].edge_index = edge_index
    graph[modality, f"rev_has_{modality}", owner].edge_index = edge_index.flip(0)
    if config.neighbors and owner == "item":  # no model listens along users' content
        # Imputed nodes listen to real ones; no one listens to them, since they hold nothing of their own.
        sources = (~nodes.imputed).nonzero().squeeze(1)
        edges, similarity = nearest_edges(nodes.x, sources, config)
        graph[modality, "similar", modality].edge_index = edges
        graph[modality, "similar", modality].edge_weight = similarity


def _made(like: Tensor, rows_of: Callable[[slice], Tensor]) -> Tensor:
    """A table [I, d] made in blocks of rows, in a scratch file where it is large."""
    table = scratch.empty(tuple(like.shape))
    made = torch.from_numpy(table)
    for rows in scratch.blocks(table):
        made[rows] = rows_of(rows)
    return made


def _taken(values: Tensor, rows: Tensor) -> Tensor:
    """The rows of a mask; all of them as they are."""
    return values if rows.all() else values[rows]


def propagate_features(values: Tensor, known: Tensor, graph: HeteroData, steps: int = 20) -> tuple[Tensor, Tensor]:
    """Fill missing rows from co-consumed items: x <- item-user-item mean of x, known rows reset after each step.

    Feature propagation (Rossi et al. 2022) as studied for recommenders by Malitesta et al. 2024 (arXiv 2408.11767).
    Returns the filled values [I, d] and which rows hold something [I]: rows no known item reaches stay missing.
    """
    to_user, to_item = operator(graph, REV_INTERACTS, "mean"), operator(graph, INTERACTS, "mean")
    reach = known.float()[:, None]
    filled = values.clone()
    for _ in range(steps):
        # Dividing by the reach keeps a half-known neighbourhood from shrinking towards zero.
        weight = to_item @ (to_user @ reach)
        mixed = (to_item @ (to_user @ (filled * reach))) / weight.clamp(min=1e-12)
        filled = torch.where(known[:, None], values, mixed)
        reach = torch.where(known[:, None], torch.ones(()), (weight > 0).float())
    return filled, reach.squeeze(1) > 0


def nearest_edges(
    x: Tensor, sources: Tensor, config: GraphConfig, queries: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Edges neighbour -> node, [2, n * k] at most, with their cosine similarity.

    `sources` are the rows of x that may be neighbours; `queries` (default: all rows) are the rows that choose.
    """
    unit = _made(x, lambda rows: torch.nn.functional.normalize(x[rows], dim=1))
    queries = torch.arange(len(x)) if queries is None else queries
    others = unit if len(sources) == len(x) else unit[sources]  # sources are ascending
    k = min(config.neighbors, len(sources))
    blocks = []
    for block in queries.split(NEIGHBOR_BLOCK if len(x) <= WIDE else max(NEIGHBOR_BLOCK * WIDE // len(x), 1)):
        similarity = unit[block] @ others.T
        similarity[block[:, None] == sources[None, :]] = -torch.inf
        best = similarity.topk(k, dim=1)
        blocks.append((sources[best.indices].flatten(), block.repeat_interleave(k), best.values.flatten()))
    source, target, weight = (torch.cat(part) for part in zip(*blocks))
    keep = weight > config.min_similarity  # no node chooses itself: -inf
    if config.mutual:
        # A node that nobody may choose, imputed or new, keeps the neighbours it chose.
        keep &= torch.isin(source * len(x) + target, target * len(x) + source) | ~torch.isin(target, sources)
    return torch.stack([source[keep], target[keep]]), weight[keep]


def together_edges(log: Interactions, k: int) -> tuple[Tensor, Tensor]:
    """Edges neighbour -> item, [2, I * k] at most, with the cosine of the two items' users as their weight.

    The item-item co-occurrence graph of MSCA (2026), kept sparse: for each item the k others with the largest cosine.
    """
    from gnnrec.cooccurrence import nearest  # numba takes half a second to import

    matrix = log.matrix()
    near, common = nearest(matrix, matrix, np.arange(log.num_items), k, own=False)
    count = np.sqrt(np.maximum(matrix.sum(axis=0), 1))
    target, place = np.nonzero(near >= 0)
    source = near[target, place]
    cosine = common[target, place] / (count[target] * count[source])
    edges = np.stack([source, target]).astype(np.int64)
    return torch.from_numpy(edges), torch.from_numpy(cosine.astype(np.float32))


def visited_edges(log: Interactions, k: int) -> tuple[Tensor, Tensor]:
    """As `together_edges`, with the k items that random walks come to most often, and their share of the steps.

    Importance pooling of PinSage (Ying et al. 2018), where a mean over the edges is weighed by these. Its cost grows
    with the items alone, not with the log.
    """
    from gnnrec.sampling.csr import CSR  # numba takes half a second to import
    from gnnrec.sampling.visits import visited

    matrix = log.matrix()
    turned = matrix.T.tocsr()
    to_user, to_item = (CSR(part.indptr, part.indices, part.shape[1]) for part in (matrix, turned))
    near, counts = visited(to_item, to_user, np.arange(log.num_items), k, WALK_STEPS, WALK_RESTART, WALK_SEED)
    target, place = np.nonzero(near >= 0)
    edges = np.stack([near[target, place], target]).astype(np.int64)
    return torch.from_numpy(edges), torch.from_numpy((counts[target, place] / WALK_STEPS).astype(np.float32))


def interactions_of(graph: HeteroData) -> Interactions:
    """The interaction edges of a graph as a log again."""
    store = graph[INTERACTS]
    rows = scratch.of_log(tuple(store.edge_index.shape), np.int32)
    for row, column in zip(rows, store.edge_index):
        row[:] = column.cpu().numpy()
    user, item = rows
    timestamp = store.time.cpu().numpy() if "time" in store else None
    sizes = {"num_users": graph["user"].num_nodes, "num_items": graph["item"].num_nodes}
    return Interactions(user=user, item=item, timestamp=timestamp, **sizes)
