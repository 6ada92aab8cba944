"""A sampled piece of the graph: some users and items, and of what they hear as much as is wanted.

What comes out is a HeteroData of its own, on which a model's `forward` runs as on the whole graph. Nodes have short
names; `n_id` of a node type holds their names in the whole graph, by which a model takes the rows of its tables. Edges
stand as `sampled` (sampling/edges.py): weights are normalized by the degrees of the whole graph and divided by the
probability that the edge was kept, so that what a node hears is right on average (Hamilton et al. 2017, GraphSAGE, for
the sampling; for the weights the estimator of Horvitz & Thompson 1952). A node's edges are drawn once a piece: up to
two hops expectations are exact; from three on a path that comes back to a node meets the same draw twice. By
`importance` of visits it hears whom walks from it come to most often, which leans to these (sampling/importance.py).

Letters: B interactions of a step, U users, I items, n nodes of a type in a piece.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec import scratch
from gnnrec.datasets.interactions import rows_of_users
from gnnrec.graph import (
    FRIEND,
    INTERACTS,
    REV_INTERACTS,
    TOGETHER,
    item_modalities,
    nodes_of,
    operator,
    owners,
    user_modalities,
)
from gnnrec.recency import Histories, histories_of, last_items
from gnnrec.sampling.csr import CSR, place_edges
from gnnrec.sampling.edges import Relation, SampledEdges, both_ways, relation_of, sampled_edges
from gnnrec.sampling.hops import Hops
from gnnrec.sampling.importance import Visited, visited_rows
from gnnrec.sampling.long_log import csr_of
from gnnrec.sampling.neighbours import LocalNodes, Sampled, degrees_before, sample_rows

Array = NDArray[Any]
EdgeType = tuple[str, str, str]


class Content(NamedTuple):
    """The nodes of one modality. `values` may be a memory-mapped file: a piece reads its own rows alone."""

    owner: str  # user | item
    values: Array  # [n, d] of any float type
    nodes: Array | None  # [I] the node of each owner, -1 for none; None where row i belongs to owner i
    owners: Array | None  # [n]
    imputed: Array | None  # [n]; None: nothing is

    def nodes_of(self, owners: Array) -> Array:
        """-1 for those that have none."""
        return owners if self.nodes is None else self.nodes[owners]

    def owners_of(self, nodes: Array) -> Array:
        return nodes if self.owners is None else self.owners[nodes]


class Piece(NamedTuple):
    graph: HeteroData
    user: Tensor  # short names of the users that were asked for
    item: Tensor  # and of the items
    num_edges: int  # sampled for it


@dataclass(slots=True)
class Sampler:
    """Draws pieces. Interactions are followed for `fanout` hops; other edges are heard by what was asked for alone."""

    to_user: Relation  # [U, I]
    to_item: Relation  # [I, U]
    fanout: tuple[int, ...]  # neighbours that are kept at each hop; 0 keeps all
    content: Mapping[str, Content]
    beside: Mapping[EdgeType, Relation]  # (modality, similar, modality), together, friend
    hops: Hops | None = None  # what a model that passes no messages has in their place, see graph_hops.py
    importance: str = "uniform"  # uniform | visits: how interactions are drawn; other edges are drawn uniformly

    def piece(self, users: Array, items: Array, random: np.random.Generator, before: int | None = None) -> Piece:
        """Users and items in any number and order, and all that their embeddings are made of.

        before: interactions of that time and later do not exist; degrees are those of then.
        """
        nodes = {"user": LocalNodes(self.to_user.csr.num_rows), "item": LocalNodes(self.to_item.csr.num_rows)}
        user, item = nodes["user"].add(users), nodes["item"].add(items)
        asked = {name: met.nodes() for name, met in nodes.items()}
        hops = self._follow(nodes, random, before)
        beside = {kind: self._listen(kind, asked, nodes, random) for kind in self.beside}
        graph = HeteroData()
        for name, met in nodes.items():
            graph[name].n_id, graph[name].num_nodes = torch.from_numpy(met.nodes()), met.count
            if self.hops is not None:
                tables = self.hops.user if name == "user" else self.hops.item
                graph[name].hops = tuple(torch.from_numpy(table[met.nodes()]) for table in tables)
        degrees = {
            "user": _degrees(self.to_user, nodes["user"].nodes(), before),
            "item": _degrees(self.to_item, nodes["item"].nodes(), before),
        }
        for kind, relation in ((REV_INTERACTS, self.to_user), (INTERACTS, self.to_item)):
            source, _, target = kind
            graph[kind].sampled = sampled_edges(relation.csr, *hops[target], degrees[target], degrees[source])
        for name, content in self.content.items():
            _add_content(graph, name, content)
        for kind, (sample, sources) in beside.items():
            graph[kind].sampled = self._beside(graph, kind, sample, sources, nodes)
        num_edges = sum(len(part) for _, columns in hops.values() for part in columns)
        return Piece(graph, torch.from_numpy(user).long(), torch.from_numpy(item).long(), num_edges)

    def _follow(
        self, nodes: dict[str, LocalNodes], random: np.random.Generator, before: int | None
    ) -> dict[str, tuple[list[Sampled | Visited], list[Array]]]:
        """Of users and of items the samples, hop by hop, and the short names of whom they hear.

        A node's edges are drawn at the hop at which it is met, so that rows stand in the order of short names.
        """
        csrs = self.to_user.csr, self.to_item.csr
        sides = {"user": (csrs, nodes["item"]), "item": (csrs[::-1], nodes["user"])}
        drawn: dict[str, tuple[list[Sampled | Visited], list[Array]]] = {name: ([], []) for name in sides}
        done = dict.fromkeys(sides, 0)  # nodes whose edges are drawn
        for fanout in self.fanout:
            fresh = {name: nodes[name].nodes()[done[name] :] for name in sides}
            done = {name: nodes[name].count for name in sides}
            for name, ((csr, turned), heard) in sides.items():
                limits = None if before is None else np.full(len(fresh[name]), before)
                sample: Sampled | Visited
                if self.importance == "visits":
                    sample = visited_rows(csr, turned, fresh[name], fanout, random, limits)
                    columns = sample.columns
                else:
                    sample = sample_rows(csr, fresh[name], fanout, random, limits)
                    columns = csr.columns[sample.entries]
                drawn[name][0].append(sample)
                drawn[name][1].append(heard.add(columns))
        return drawn

    def _listen(
        self, kind: EdgeType, asked: Mapping[str, Array], nodes: dict[str, LocalNodes], random: np.random.Generator
    ) -> tuple[Sampled, Array]:
        """Edges of another type at what was asked for, and their sources in the whole graph, which are met by it."""
        csr, name = self.beside[kind].csr, kind[0]
        content = self.content.get(name)
        rows = asked[name if content is None else content.owner]
        if content is not None:
            rows = content.nodes_of(rows)
            rows = rows[rows >= 0]
        sample = sample_rows(csr, rows, self.fanout[0] if self.fanout else 0, random)
        sources = csr.columns[sample.entries]
        if content is None:
            nodes[name].add(sources)
        else:
            nodes[content.owner].add(content.owners_of(sources))
        return sample, sources

    def _beside(
        self, graph: HeteroData, kind: EdgeType, sample: Sampled, sources: Array, nodes: dict[str, LocalNodes]
    ) -> SampledEdges:
        relation, name = self.beside[kind], kind[0]
        if (content := self.content.get(name)) is None:
            met, columns = nodes[name].nodes(), nodes[name].add(sources)
        else:
            met = graph[name].n_id.numpy()
            place = nodes_of(graph, name).numpy()
            columns = place[nodes[content.owner].add(content.owners_of(sources))].astype(np.int32)
        return sampled_edges(relation.csr, [sample], [columns], relation.row_degree[met], relation.column_degree[met])


def step_piece(
    sampler: Sampler,
    graph: HeteroData,
    interactions: Tensor,
    others: Tensor,
    *,
    window: int = 0,
    temporal: bool = False,
    seed: int = 0,
) -> Piece:
    """What a training step on interactions (positions [B]) sees of the graph that the sampler was made of.

    `item` of the piece are those of the interactions and then `others`; its own interactions are the step's, in order.
    window: how many items of its user before each interaction are asked for, too. temporal: no edge of the time of the
    step's first interaction, or later, is in it.
    """
    user, item = graph[INTERACTS].edge_index[:, interactions]
    before = int(graph[INTERACTS].time[interactions].min()) if temporal else None
    histories = histories_of(graph) if window else None
    recent = item[:0]
    if histories is not None:
        items, there = last_items(histories, user, histories.place[interactions], window)
        recent = items[there]
    asked = torch.cat([item, others, recent]).cpu().numpy()
    piece = sampler.piece(user.cpu().numpy(), asked, np.random.default_rng(seed), before)
    local = piece.graph
    edge_index = torch.stack([piece.user, piece.item[: len(interactions)]])
    local[INTERACTS].edge_index, local[REV_INTERACTS].edge_index = edge_index, edge_index.flip(0)
    if histories is not None:
        local[INTERACTS]["histories"] = _windows(
            piece, len(item) + len(others), histories.place[interactions].cpu(), there.cpu()
        )
    return piece._replace(graph=local.to(user.device), user=piece.user.to(user.device), item=piece.item.to(user.device))


def _windows(piece: Piece, first: int, place: Tensor, there: Tensor) -> Histories:
    """The histories of the piece's users as far as windows reach: there [B, L], whose items were asked for from `first`
    on. Positions in a history are those in the whole graph: place [B]."""
    user, num_users = piece.user, piece.graph["user"].num_nodes
    low = (place - there.sum(1)).clamp(min=0)
    begin = torch.full((num_users,), torch.iinfo(torch.int64).max).scatter_reduce(0, user, low, "amin")
    end = torch.zeros(num_users, dtype=torch.int64).scatter_reduce(0, user, place, "amax")
    size = (end - begin).clamp(min=0)
    start = size.cumsum(0) - size - torch.where(size > 0, begin, 0)
    item = torch.zeros(int(size.sum()) + 1, dtype=torch.int64)
    lag = torch.arange(1, there.shape[1] + 1)
    position = start[user][:, None] + place[:, None] - lag  # [B, L]
    item[position[there]] = piece.item[first:]
    return Histories(item, start, end, place)


def sampler_of(graph: HeteroData, fanout: tuple[int, ...], hops: Hops | None = None, content: bool = True) -> Sampler:
    """Of a whole graph in memory. A pair that interacted often counts once, the first time.

    content: whether pieces hold modality nodes and the edges between items and between users, too.
    """
    contents, beside = {}, {}
    for name in (*item_modalities(graph), *user_modalities(graph)) if content else ():
        features, owner = graph[name], "user" if name.startswith("user_") else "item"
        own = (features.x, nodes_of(graph, name), owners(graph, name), features.imputed)
        contents[name] = Content(owner, *(part.cpu().numpy() for part in own))
    for kind in (TOGETHER, FRIEND, *((name, "similar", name) for name in item_modalities(graph))):
        if content and kind in graph.edge_types:
            made = operator(graph, kind, "none")
            parts = (made.offsets.cpu().numpy(), made.columns.cpu().numpy(), made.shape[1])
            beside[kind] = relation_of(CSR(*parts, weight=made.values.cpu().numpy()))
    return Sampler(*both_ways(*_interactions(graph)), fanout, contents, beside, hops)


def _interactions(graph: HeteroData) -> tuple[CSR, CSR]:
    """Each pair once: the items of each user, the users of each item. Of a long log in scratch files."""
    (user, item), store = graph[INTERACTS].edge_index.cpu().numpy(), graph[INTERACTS]
    time = store.time.cpu().numpy() if "time" in store else None
    sizes = graph["user"].num_nodes, graph["item"].num_nodes
    again = _again(user, item, *sizes)
    if scratch.is_large_log(len(user)):
        return csr_of(user, item, *sizes, time, again), csr_of(item, user, *sizes[::-1], time, again)
    user, item = (side[~again].astype(np.int32) for side in (user, item))
    time = None if time is None else time[~again]
    return _csr(user, item, *sizes, time), _csr(item, user, *sizes[::-1], time)


def _again(user: Array, item: Array, num_users: int, num_items: int) -> Array:
    """Which rows have a pair that a row before them has. [E]"""
    again = np.ones(len(user), dtype=bool)
    for rows in rows_of_users(user, num_users):
        _, first = np.unique(user[rows].astype(np.int64) * num_items + item[rows], return_index=True)
        again[rows[first]] = False
    return again


def _csr(row: Array, column: Array, num_rows: int, num_columns: int, time: Array | None) -> CSR:
    """Entries of a row in the order in which they came."""
    offsets = np.concatenate([[0], np.bincount(row, minlength=num_rows).cumsum()])
    columns, times = np.empty(len(row), np.int32), np.empty(0 if time is None else len(row), np.int64)
    place_edges(row, column, times if time is None else time, offsets[:-1].copy(), columns, times)
    return CSR(offsets, columns, num_columns, None if time is None else times)


def _degrees(relation: Relation, nodes: Array, before: int | None) -> Array:
    if before is None:
        return relation.row_degree[nodes]
    return degrees_before(relation.csr, nodes, before)


def _add_content(graph: HeteroData, name: str, content: Content) -> None:
    """The nodes of a modality that belong to the owners in the piece, in the order of these."""
    met = graph[content.owner].n_id.numpy()
    nodes = content.nodes_of(met)
    index = np.flatnonzero(nodes >= 0)
    nodes = nodes[index]
    store = graph[name]
    store.n_id, store.num_nodes = torch.from_numpy(nodes), len(nodes)
    store.x = torch.from_numpy(np.asarray(content.values[nodes], dtype=np.float32))
    imputed = np.zeros(len(nodes), dtype=np.bool_) if content.imputed is None else content.imputed[nodes]
    store.imputed = torch.from_numpy(imputed)
    edge_index = torch.from_numpy(np.stack([index, np.arange(len(index))]))
    graph[content.owner, f"has_{name}", name].edge_index = edge_index
    graph[name, f"rev_has_{name}", content.owner].edge_index = edge_index.flip(0)
