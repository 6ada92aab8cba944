"""Evidence: the pieces of the graph that one recommendation rests on, each with how far the score falls without it.

Nothing here is said by a language model. A piece is found on a path from the user to the item, taken out of the graph,
and the score is computed again (a counterfactual, as in PaGE-Link's deletion test, Zhang et al. 2023). Weights and
everything else stay as trained.

Letters: I items, M modalities.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import FRIEND, TOGETHER, item_modalities, owners
from gnnrec.models import user_scores
from gnnrec.removal import (
    without_content,
    without_friends,
    without_interactions,
    without_relation,
    without_takers,
)
from gnnrec.run_folder import Run
from gnnrec.vectors import unit_length

TRIED = 12  # things of the user's past that are taken out one by one, the likeliest reasons first


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One piece. `drop`: the score less the score without it; above 0 it speaks for the item."""

    id: str  # within one recommendation: "had:318", "text", "friend:17"
    kind: str  # had | content | friend
    drop: float
    item: int | None = None  # of a thing she had: its index
    modality: str | None = None
    rating: float | None = None  # that she gave, where the log has ratings
    liked: bool = True  # by `Interactions.liked`
    common: int = 0  # users who had both that thing and the recommended one
    alike: tuple[tuple[str, float], ...] = ()  # modalities in which the two are neighbours, and their cosine
    path: tuple[str, ...] = ()  # node types on the way to the item; empty where it takes more than two steps


@dataclass(frozen=True, slots=True)
class PathKind:
    """All paths of one kind that end at an item. `drop`: the score less the score without all of them."""

    path: tuple[str, ...]  # node types from the user to the item
    drop: float


class EvidenceFinder:
    """Of one run, with everything known as histories."""

    def __init__(self, run: Run) -> None:
        self.run, self.graph = run, run.known_graph
        self._whole: tuple[int, Tensor] | None = None  # of the user asked last, her scores on the whole graph [I]

    def score(self, user: int, item: int, graph: HeteroData | None = None) -> float:
        """On a graph without something; on the whole one, which every piece is held against, made once a user."""
        if graph is not None:
            return float(user_scores(self.run.model, graph, user)[item])
        if self._whole is None or self._whole[0] != user:
            self._whole = user, user_scores(self.run.model, self.graph, user)
        return float(self._whole[1][item])

    def find(self, user: int, item: int) -> list[Evidence]:
        """All pieces found, the one with the largest drop first."""
        whole = self.score(user, item)
        found = [self._had(user, item, thing, whole) for thing in self.candidates(user, item)]
        found += [self._content(user, item, modality, whole) for modality in self._modalities(item)]
        found += [self._friend(user, item, friend, whole) for friend in self._friends(user, item)]
        return sorted(found, key=lambda piece: -piece.drop)

    def paths(self, user: int, item: int) -> list[PathKind]:
        """What each kind of path adds that leads from her past, or her friends, to the item; the largest drop first.

        A path of a kind is cut at its last step before the item (friends: at the first), so that all of them fall
        away at once, also those by way of things that are no piece of `find`.
        """
        graph, whole = self.graph, self.score(user, item)
        cut: dict[tuple[str, ...], HeteroData] = {}
        if (self.run.known.item == item).any():
            cut["user", "item", "user", "item"] = without_takers(graph, item)
        relations = {("user", "item", name, "item"): (name, "similar", name) for name in item_modalities(graph)}
        for path, edge_type in (relations | {("user", "item", "item"): TOGETHER}).items():
            if edge_type in graph.edge_types:
                left = without_relation(graph, edge_type, item)
                if left[edge_type].num_edges < graph[edge_type].num_edges:
                    cut[path] = left
        if friends := self._friends(user, item):
            cut["user", "user", "item"] = without_friends(graph, user, friends)
        drops = [PathKind(path, whole - self.score(user, item, left)) for path, left in cut.items()]
        return sorted(drops, key=lambda kind: -kind.drop)

    def candidates(self, user: int, item: int) -> list[int]:
        """The up to TRIED things of her past most like the item, by their embeddings; of equal ones the newest first.

        Of a model without embeddings the newest.
        """
        mine = (self.run.known.user == user) & (self.run.known.item != item)  # a thing is no reason for itself
        had = list(dict.fromkeys(self.run.known.item[mine][::-1].tolist()))
        if not self.run.has_embeddings:
            return had[:TRIED]
        closeness = self._unit[had] @ self._unit[item]
        return [had[place] for place in np.argsort(-closeness, kind="stable")[:TRIED]]

    @cached_property
    def _unit(self) -> NDArray[np.float32]:
        """The items' embeddings at length one. [I, d]"""
        return unit_length(self.run.item_vectors)

    def _had(self, user: int, item: int, thing: int, whole: float) -> Evidence:
        left = self.score(user, item, without_interactions(self.graph, user, [thing]))
        alike = tuple(
            (modality, cosine)
            for modality in item_modalities(self.graph)
            if (cosine := self._similarity(modality, thing, item)) is not None
        )
        common, row = self.common(thing, item), self._row(user, thing)
        middle = "user" if common else alike[0][0] if alike else None
        return Evidence(
            id=f"had:{self.run.item_ids[thing]}",
            kind="had",
            drop=whole - left,
            item=thing,
            rating=self._rating(row),
            liked=bool(self._liked[row]),
            common=common,
            alike=alike,
            path=("user", "item", middle, "item") if middle else (),
        )

    def _content(self, user: int, item: int, modality: str, whole: float) -> Evidence:
        left = self.score(user, item, without_content(self.graph, modality, item))
        return Evidence(id=modality, kind="content", drop=whole - left, modality=modality, path=(modality, "item"))

    def _friend(self, user: int, item: int, friend: int, whole: float) -> Evidence:
        left = self.score(user, item, without_friends(self.graph, user, [friend]))
        return Evidence(
            id=f"friend:{self.run.user_ids[friend]}",
            kind="friend",
            drop=whole - left,
            path=("user", "user", "item"),
        )

    def _modalities(self, item: int) -> list[str]:
        """Those in which the item has content of its own."""
        return [modality for modality, items in self._own.items() if item in items]

    def _friends(self, user: int, item: int) -> list[int]:
        """Friends who had the item, at most TRIED."""
        if FRIEND not in self.graph.edge_types:
            return []
        pairs = self.graph[FRIEND].edge_index
        friends = pairs[0, pairs[1] == user].unique().numpy()
        takers = self.run.known.user[self.run.known.item == item]
        return [int(friend) for friend in friends if friend in takers][:TRIED]

    def common(self, first: int, second: int) -> int:
        """How many users had both in train."""
        columns = self._by_item
        users = [columns.indices[columns.indptr[i] : columns.indptr[i + 1]] for i in (first, second)]
        return len(np.intersect1d(*users))

    @cached_property
    def _by_item(self):  # type: ignore[no-untyped-def]
        return self.run.train.matrix().tocsc()

    @cached_property
    def _own(self) -> dict[str, set[int]]:
        """Of each modality the items with content of their own: what was filled in from others does not count."""
        return {
            modality: set(owners(self.graph, modality)[~self.graph[modality].imputed].tolist())
            for modality in item_modalities(self.graph)
        }

    def _rating(self, row: int) -> float | None:
        log = self.run.known
        if log.rating is None or log.scale is None:  # of a log of ones nobody gave anything
            return None
        return log.rating_of(row)

    def _row(self, user: int, item: int) -> int:
        """The newest row of what she had."""
        return int(np.flatnonzero((self.run.known.user == user) & (self.run.known.item == item))[-1])

    @cached_property
    def _liked(self) -> NDArray[np.bool_]:
        return self.run.known.liked()

    def _similarity(self, modality: str, first: int, second: int) -> float | None:
        """The cosine of two items' modality nodes, where one of them listens to the other and both have content of
        their own; None where not."""
        edge_type = (modality, "similar", modality)
        if edge_type not in self.graph.edge_types or not {first, second} <= self._own[modality]:
            return None
        owner, store = owners(self.graph, modality), self.graph[edge_type]
        ends = owner[store.edge_index]
        there = ((ends[0] == first) & (ends[1] == second)) | ((ends[0] == second) & (ends[1] == first))
        return float(store.edge_weight[there][0]) if there.any() else None
