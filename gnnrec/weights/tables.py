"""The weights of a model whose tables of free embeddings move by rows: in blocks over workers, or in files.

A step touches the rows that it looked at and no others: the weights, Adam's moments and the average of the rest stay as
they are on disk or in memory (lazy Adam; the average catches up, see average.py). Everything else of the model is with
every worker, as in whole.py.

Letters: N rows of a table, n of them here, r that a step looked at, d dimensions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.checkpoint import TrainState
from gnnrec.datasets.interactions import Interactions
from gnnrec.lazy_adam import LazyAdam
from gnnrec.models import EmbeddingModel
from gnnrec.validation import ranked_metric, validation_metric
from gnnrec.weights.average import Decay, caught_up
from gnnrec.weights.blocks import Rows, rank_in_blocks, smoothed
from gnnrec.weights.places import Parts, Place
from gnnrec.weights.shards import Route, block_of, gathered
from gnnrec.weights.whole import Groups, Weights

BLOCK = 2**16  # rows whose averages are made at a time


def owners_of(model: EmbeddingModel) -> dict[str, str]:
    """The model's tables of free embeddings -> whose rows they have."""
    return {name: model.rows_of[name] for name, _ in model.named_parameters() if name in model.rows_of}


class TableWeights(Weights):
    def __init__(
        self, model: EmbeddingModel, graph: HeteroData, decay: Decay, adam: dict[str, Any], place: Place
    ) -> None:
        """adam: settings of the optimizer. Tables of the model are whole, or this worker's rows already."""
        self.place, self.owners = place, owners_of(model)
        self.num_rows = {name: graph[owner].num_nodes for name, owner in self.owners.items()}
        self.parts: dict[str, Parts] = {}
        self.validated: dict[str, Tensor] = {}
        self.best_rows: dict[str, Tensor] = {}
        for name, num_rows in self.num_rows.items():
            self.parts[name] = parts = self._begun(name, model.get_parameter(name).data, num_rows, bool(decay))
            setattr(model, name, nn.Parameter(parts["weight"]))
        super().__init__(model, decay)
        self.optimizer = LazyAdam([self._table(name) for name in self.owners], **adam)
        self._set_moments(0)

    def shared(self) -> dict[str, nn.Parameter]:
        return {name: value for name, value in self.model.named_parameters() if name not in self.owners}

    def prepare(self, piece: HeteroData) -> None:
        """The ways to its rows, where these are at other workers."""
        if self.place.workers.size > 1:
            for owner in dict.fromkeys(self.owners.values()):
                num_rows = next(size for name, size in self.num_rows.items() if self.owners[name] == owner)
                piece[owner]["route"] = Route(piece[owner].n_id, num_rows, self.place.workers)

    @torch.no_grad()
    def update(self, updates: int) -> None:
        super().update(updates)
        touched: dict[str, Tensor] = {}
        for name in self.owners:
            table = self._table(name)
            assert table.grad is not None, "the model looked at none of its rows"
            table.grad = table.grad.coalesce()
            touched[name] = table.grad.indices()[0]  # [r]
        self.place.about_to_change(self.parts, touched)
        averages = {name: self._averages(name, rows, updates - 1) for name, rows in touched.items() if self.decay}
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        for name, average in averages.items():
            parts, rows = self.parts[name], touched[name]
            parts["average"][rows] = average.lerp_(parts["weight"][rows], self.decay.share(updates))
            parts["averaged_at"][rows] = updates

    @contextmanager
    def averaged(self, updates: int) -> Iterator[None]:
        with super().averaged(updates):
            self.validated = {name: self._validated(name, updates) for name in self.owners}
            try:
                yield
            finally:
                self.validated = {}

    def measure(self, graph: HeteroData, train: Interactions, val: Interactions, metric: str) -> float:
        """Block by block, where the model is light propagation; else from whole tables, gathered for the while."""
        smoothing, workers = self.model.smoothing(), self.place.workers
        if smoothing is not None:
            user, item = (Rows(self.validated[name], self.num_rows[name], workers) for name in ("user", "item"))
            user, item = smoothed(graph, user, item, smoothing, self.place.scratch)
            return ranked_metric(lambda users, k, seen: rank_in_blocks(user, item, users, k, seen), train, val, metric)
        blocks = {name: self._table(name) for name in self.owners}
        try:
            for name, rows in self.validated.items():
                setattr(self.model, name, nn.Parameter(gathered(rows, self.num_rows[name], workers)))
            return validation_metric(self.model, graph, train, val, metric)
        finally:
            for name, table in blocks.items():
                setattr(self.model, name, table)

    def keep(self, epoch: int) -> None:
        super().keep(epoch)
        for name, rows in self.validated.items():
            self.best_rows[name] = self.place.kept(name, rows, epoch)

    def finish(self) -> None:
        """The model gets the rows that are here: all of a single worker."""
        super().finish()
        for name, rows in self.best_rows.items():
            setattr(self.model, name, nn.Parameter(rows))

    def save(self, saves: int) -> None:
        self.place.save(saves, self.parts, self.best_rows)

    def saved(self, state: TrainState) -> None:
        self.place.saved(state, self.parts)

    def resume(self, groups: Groups, state: TrainState) -> None:
        super().resume(groups, state)
        self.best_rows = self.place.resume(state, self.parts, self.num_rows)
        self._set_moments(state.updates)

    def _begun(self, name: str, rows: Tensor, num_rows: int, averaged: bool) -> Parts:
        """Of zeros but for the weights [n, d], which are cut out of `rows` unless these are so already."""
        block = block_of(num_rows, self.place.workers)
        rows = rows[block] if len(rows) == num_rows else rows
        parts = {"weight": self.place.held(name, "weight", rows, rows)}
        for part in ("exp_avg", "exp_avg_sq", *(("average",) if averaged else ())):
            parts[part] = self.place.held(name, part, rows)
        if averaged:
            parts["averaged_at"] = self.place.held(name, "averaged_at", rows[:, 0].int())
        return parts

    def _table(self, name: str) -> nn.Parameter:
        return self.model.get_parameter(name)

    def _set_moments(self, updates: int) -> None:
        for name in self.owners:
            moments = {key: self.parts[name][key] for key in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[self._table(name)] = {"step": torch.tensor(float(updates)), **moments}

    def _averages(self, name: str, rows: Tensor | slice, updates: int) -> Tensor:
        parts = self.parts[name]
        return caught_up(parts["weight"][rows], parts["average"][rows], parts["averaged_at"][rows], updates, self.decay)

    @torch.no_grad()
    def _validated(self, name: str, updates: int) -> Tensor:
        """The averages of all rows that are here, or the weights where there is no average. [n, d]"""
        weight = self.parts[name]["weight"]
        if not self.decay:
            return weight
        made = self.place.scratch(weight)
        for begin in range(0, len(weight), BLOCK):
            rows = slice(begin, begin + BLOCK)
            made[rows] = self._averages(name, rows, updates)
        return made

    def _state(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.model.state_dict().items() if name not in self.owners}

    def _load(self, state: Any) -> None:
        self.model.load_state_dict(state, strict=False)  # what is missing are the tables
