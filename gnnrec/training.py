"""fit(): the one training loop. Full-batch propagation, mini-batched positives, early stop on validation.

Letters: U users, I items, E training interactions, B batch, K negatives, d dimensions.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec import metrics, scratch
from gnnrec.checkpoint import TrainState, check_checkpoint, load_checkpoint, save_checkpoint
from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, interactions_of, num_interactions
from gnnrec.interrupt import stop_on_sigint
from gnnrec.lazy_adam import LazyAdam
from gnnrec.losses import LOSSES, catalogue_softmax, shared_softmax
from gnnrec.models import EmbeddingModel, Embeddings
from gnnrec.progress import progress
from gnnrec.ranking import fast_bfloat16
from gnnrec.sampled_step import check_sampling, own_candidates, sampler_for
from gnnrec.subgraph import Sampler, step_piece
from gnnrec.weights.average import Decay
from gnnrec.weights.choose import check_tables, weights_of
from gnnrec.workers import world

CHECKPOINT_SECONDS = 30.0  # how much work a crash may cost at most, within long epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    loss: str = "softmax"  # softmax | bpr | bce | hinge
    temperature: float = 0.0  # scores are divided by it; 0 takes that of the catalogue's size, `temperature_for`
    negatives: int = 0  # drawn uniformly per positive; 0 takes every other item of the catalogue
    whole_catalogue: int = 8_192  # items up to which the softmax takes all; of more it takes the shared negatives,
    shared_negatives: int = 4096  # drawn uniformly at each step, the same for the whole batch
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    batch_size: int = 2048  # at least; more where an epoch would have more than max_steps
    # A step passes over all edges, so that steps in proportion to the log would make an epoch's cost its square.
    max_steps: int = 50  # of an epoch
    epochs: int = 100
    # Of steps and validations, earlier calls' too, after which the running epoch ends and is the last; 0: no limit
    minutes: float = 0.0
    validate_every: int = 2  # epochs
    patience: int = 10  # validations without a new best before training stops
    # What a step sees: whole | neighbours, sampled | temporal, of those before the step's first interaction
    sampling: str = "whole"
    fanout: int | str = 10  # sampled neighbours of a node: for every hop of the model, or "15,10,5"; 0 for all
    importance: str = (
        "uniform"  # how neighbours are drawn | visits: whom walks from a node come to most often (PinSage)
    )
    # Where embeddings of ids lie: whole, in memory | sharded, in blocks over workers (--nproc) | mapped, in files of
    # the run's folder. The last two for steps on pieces
    tables: str = "whole"
    average: float = 0.98  # decay per step of the moving average of the weights that is validated and kept; 0 for none
    metric: str = "ndcg@20"  # on validation; decides which epoch is kept
    precision: str = "auto"  # of the catalogue softmax: float32 | bfloat16 | auto (bfloat16 where the CPU has it)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UserError(f"train.loss: found {self.loss!r}; allowed: {', '.join(LOSSES)}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise UserError(f"train.precision: found {self.precision!r}; allowed: auto, float32, bfloat16")
        name, _, k = self.metric.partition("@")
        if name not in metrics.METRICS or not k.isdigit() or int(k) < 1:
            allowed = ", ".join(f"{name}@K" for name in metrics.METRICS)
            raise UserError(f"train.metric: found {self.metric!r}; allowed: {allowed}")
        for key in ("batch_size", "max_steps", "shared_negatives", "epochs", "validate_every", "patience"):
            if getattr(self, key) < 1:
                raise UserError(f"train.{key}: found {getattr(self, key)}; allowed: 1 or more")
        for key in ("negatives", "whole_catalogue", "weight_decay", "temperature", "minutes"):
            if not getattr(self, key) >= 0:
                raise UserError(f"train.{key}: found {getattr(self, key)}; allowed: 0 or more")
        if not 0 <= self.average < 1:
            raise UserError(f"train.average: found {self.average}; allowed: from 0, below 1")
        check_sampling(self.sampling, self.fanout, self.importance)
        check_tables(self.tables, self.sampling)
        if not self.learning_rate > 0:
            raise UserError(f"train.learning_rate: found {self.learning_rate}; allowed: above 0")


def temperature_for(num_items: int) -> float:
    """.2 up to 3,000 items, then falling with about the fourth root of the catalogue: .1 for 41,000, at least .05.

    A cosine over a temperature can set the best item above an average one by a factor of exp(1 / temperature) and no
    more: 150 at .2, 22,000 at .1. Against a larger catalogue a user's few items need the larger factor. Measured on
    three catalogues (scripts/bench/NOTES.md), not derived.
    """
    return max(0.2 * (3000 / max(num_items, 3000)) ** 0.265, 0.05)


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user; its state is saved and the same call goes on from there."""


def fit(
    model: EmbeddingModel,
    graph: HeteroData,
    val: Interactions,
    config: TrainConfig,
    *,
    checkpoint: Path | None = None,
    settings: str = "",
    on_epoch: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> TrainState:
    """Train `model` in place on the interactions of `graph`; it ends with the weights that were best on `val`.

    With `checkpoint`, the state is kept there and a call with the same `settings` (any text that names the run)
    resumes it to the same weights, bit for bit. `on_epoch` gets all rows so far: {"epoch", "loss", "seconds", and on
    validated epochs the metric}. Raises Interrupted after SIGINT, once the state is saved.

    In a process group (workers.py) each worker calls it alike and ends with the same weights; the first one writes.
    """
    trainer = Trainer(model, graph, val, config, checkpoint, settings)
    state = trainer.state
    with stop_on_sigint() as stopped, progress(total=config.epochs, text="training", unit="epoch") as bar:
        bar.update(state.epoch)
        while not state.finished:
            try:
                trainer.epoch(stopped)
            except Interrupted:
                trainer.save()
                raise
            on_epoch(state.history)
            last = {key: f"{value:.4f}" for key, value in state.history[-1].items() if key not in ("epoch", "seconds")}
            bar.set_postfix(last | {"best": f"{state.best_metric:.4f}"})
            bar.update(1)
            trainer.save()
    trainer.weights.finish()
    return state


class Trainer:
    """One training on its way: what an epoch needs and what a checkpoint holds."""

    def __init__(
        self,
        model: EmbeddingModel,
        graph: HeteroData,
        val: Interactions,
        config: TrainConfig,
        checkpoint: Path | None = None,
        settings: str = "",
    ) -> None:
        self.model, self.graph, self.config = model, graph, config
        self.workers = world()
        self.checkpoint, self.settings = checkpoint, settings
        self.train_log, self.val = interactions_of(graph), val
        self.items = graph[INTERACTS].edge_index[1]
        # Items nobody has taken yet are no negatives: training would only learn to push the cold ones away.
        self.candidates = (num_interactions(graph, "item") > 0).nonzero().squeeze(1)
        device = self.items.device
        self.place = torch.full((graph["item"].num_nodes,), -1, device=device).index_copy(
            0, self.candidates, torch.arange(len(self.candidates), device=device)
        )
        if config.negatives:
            self.own_gaps, self.num_own = own_candidates(graph, self.place, len(self.candidates))
            self.own_start = self.num_own.cumsum(0) - self.num_own  # [U]
        self.sampler = sampler_for(model, graph, config.sampling, config.fanout, config.importance)
        adam: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        if config.tables != "whole" and checkpoint is not None and checkpoint.exists():
            check_checkpoint(checkpoint, settings)  # before tables of another size are looked for beside it
        self.weights = weights_of(model, graph, config.tables, Decay(config.average), adam, checkpoint)
        self.optimizer = self._optimizer(adam)
        self.low_precision = config.precision == "bfloat16" or (config.precision == "auto" and fast_bfloat16(device))
        self.temperature = config.temperature or temperature_for(len(self.candidates))
        self.batch_size = max(config.batch_size, -(-len(self.items) // config.max_steps))
        self.generator = Generator().manual_seed(config.seed)
        self.epoch_start = self.generator.get_state()
        self.state = TrainState()
        self.saved_at = time.monotonic()
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def epoch(self, stopped: threading.Event) -> None:
        state, began, over = self.state, time.monotonic(), False
        self.model.train()
        resumed_random = self.generator.get_state() if state.step else None
        self.generator.set_state(self.epoch_start)
        batches = self._batches()
        if resumed_random is not None:
            self.generator.set_state(resumed_random)
        for batch in batches[state.step :]:
            state.loss_sum += self.step(batch)
            state.step += 1
            now = time.monotonic()
            late, spent = now - self.saved_at > CHECKPOINT_SECONDS, state.seconds + now - began
            stop, due, over = self.workers.any(stopped.is_set(), late, 0 < 60 * self.config.minutes < spent)
            if stop:
                state.seconds = spent
                raise Interrupted(
                    f"stopped in epoch {state.epoch + 1}"
                    + ("; the state is saved and the same command goes on" if self.checkpoint else "")
                )
            if over:
                break
            if due:
                state.seconds, began = spent, now
                self.save()
        if not np.isfinite(state.loss_sum):
            raise UserError(f"training: the loss is not finite in epoch {state.epoch + 1}; lower train.learning_rate")
        row = {"epoch": state.epoch + 1, "loss": state.loss_sum / max(state.step, 1)}
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        self.epoch_start = self.generator.get_state()
        last = state.epoch == self.config.epochs or over
        if not len(self.val) or state.epoch % self.config.validate_every == 0 or last:
            with self.weights.averaged(state.updates):
                if len(self.val):
                    row[self.config.metric] = self._validate()
                else:
                    state.best_epoch = state.epoch
                    self.weights.keep(state.epoch)
        state.seconds += time.monotonic() - began
        row["seconds"] = state.seconds
        state.history.append(row)
        state.finished = last or state.stale >= self.config.patience

    def _optimizer(self, adam: dict[str, Any]) -> torch.optim.Optimizer:
        groups = [{"params": list(self.weights.shared().values())}]  # of a model of tables alone none
        return torch.optim.Adam(groups, fused=True, **adam) if self.sampler is None else LazyAdam(groups, **adam)

    def _batches(self) -> tuple[Tensor, ...]:
        """Positions of interactions. Temporal batches are consecutive in time, and come in random order."""
        if self.config.sampling != "temporal":
            return self.model.batches(self.graph, self.batch_size, self.generator)
        order = torch.from_numpy(scratch.of_log((len(self.items),), np.int64))
        windows = torch.arange(len(order), out=order).split(self.batch_size)
        return tuple(windows[place] for place in torch.randperm(len(windows), generator=self.generator))

    def step(self, batch: Tensor) -> float:
        """One update from the interactions at the given positions [B]; returns the loss."""
        batch = batch.to(self.items.device)  # drawn on the CPU, so that every device sees the same order
        loss = self._whole_loss(batch) if self.sampler is None else self._sampled_loss(batch, self.sampler)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        loss_of_all = self.workers.sum_gradients(self.weights.shared().values(), loss)
        self.optimizer.step()
        self.state.updates += 1
        self.weights.update(self.state.updates)
        return loss_of_all

    def _whole_loss(self, batch: Tensor) -> Tensor:
        """This worker's part of the loss: of its own rows, and of what the whole batch decides an equal part."""
        embeddings = self.model.training_pass(self.graph, self.generator)
        share, weight = self.workers.share_of(len(batch))
        loss = weight * self._loss(batch, embeddings, share)
        more = self.model.auxiliary_loss(self.graph, embeddings, batch)
        return loss if more is None else loss + more / self.workers.size

    def _sampled_loss(self, batch: Tensor, sampler: Sampler) -> Tensor:
        """The same from a piece of the graph, in which users and items go by short names: each worker has its own."""
        share, weight = self.workers.share_of(len(batch))
        against, batch = self._against(batch, share), batch[share]
        target = self.items[batch]
        others = self.candidates if against is None else against
        piece = step_piece(
            sampler,
            self.graph,
            batch,
            others.flatten(),
            window=self.model.window,
            temporal=self.config.sampling == "temporal",
            seed=int(torch.randint(2**62, (), generator=self.generator)) + self.workers.rank,
        )
        self.weights.prepare(piece.graph)
        interactions = torch.arange(len(batch), device=batch.device)
        embeddings = self.model.training_pass(piece.graph, self.generator)
        query = self.model.queries(piece.graph, embeddings, interactions) / self.temperature
        rows = piece.item[: len(batch)], piece.item[len(batch) : len(batch) + others.numel()].view(others.shape)
        item = embeddings.item if against is not None else embeddings.item[rows[1]]
        loss = self._compared(query, item, rows[0], None if against is None else rows[1], self.place[target])
        more = self.model.auxiliary_loss(piece.graph, embeddings, interactions)
        return weight * (loss if more is None else loss + more)

    def _against(self, batch: Tensor, share: slice) -> Tensor | None:
        """The items that stand against those of a batch's share: of each its own [B, K], [N] for all alike, None for
        all. They are drawn for the whole batch, so that they do not depend on who takes it."""
        if self.config.negatives:
            return self._draw_negatives(batch)[share]
        if self.config.loss != "softmax" or len(self.candidates) <= self.config.whole_catalogue:
            return None
        drawn = torch.randint(len(self.candidates), (self.config.shared_negatives,), generator=self.generator)
        return self.candidates[drawn.to(batch.device)]

    def _loss(self, batch: Tensor, embeddings: Embeddings, share: slice = slice(None)) -> Tensor:
        """Mean over a share of the batch."""
        against, batch = self._against(batch, share), batch[share]
        query = self.model.queries(self.graph, embeddings, batch) / self.temperature  # [B, d]
        target = self.items[batch]
        return self._compared(query, embeddings.item, target, against, self.place[target])

    def _compared(self, query: Tensor, item: Tensor, target: Tensor, against: Tensor | None, place: Tensor) -> Tensor:
        """Of users [B, d] and the rows of `item` that are theirs [B] and that stand against these.

        Where all candidates do, `item` are all items or all candidates, and `place` [B] is the target's among these.
        """
        if against is None:
            if len(item) != len(self.candidates):
                item = item[self.candidates]
            if self.config.loss == "softmax":
                return catalogue_softmax(query, item, place, self.low_precision)
            negative = (query @ item.T).scatter(1, place[:, None], -torch.inf)  # [B, candidates]
            return LOSSES[self.config.loss]((query * item[place]).sum(1), negative)
        if against.dim() == 1:
            # The softmax over the catalogue, estimated from negatives that are the same for the whole batch.
            stands_for = (len(self.candidates) - 1) / len(against)
            return shared_softmax(query, item[target], item[against], target, against, stands_for, self.low_precision)
        negative = torch.einsum("bd,bkd->bk", query, item[against])
        return LOSSES[self.config.loss]((query * item[target]).sum(1), negative)

    def _draw_negatives(self, batch: Tensor) -> Tensor:
        """Candidates that the user of each interaction has not taken, drawn uniformly. [B, K]

        The r-th candidate that a user has not taken is candidate r + the number of her own before it.
        """
        users = self.graph[INTERACTS].edge_index[0, batch][:, None]
        num_candidates, num_own = len(self.candidates), self.num_own[users]  # [B, 1]
        share = torch.rand((len(batch), self.config.negatives), generator=self.generator, dtype=torch.float64)
        share = share.to(users.device)
        drawn = (share * (num_candidates - num_own)).long()
        drawn += torch.searchsorted(self.own_gaps, users * num_candidates + drawn, right=True) - self.own_start[users]
        return self.candidates[drawn.clamp(max=num_candidates - 1)]  # who has everything gets her last

    def _validate(self) -> float:
        self.model.eval()
        try:
            value = self.weights.measure(self.graph, self.train_log, self.val, self.config.metric)
        except ValueError as error:
            raise UserError(f"training: {error} in epoch {self.state.epoch}; lower train.learning_rate") from error
        if value > self.state.best_metric:
            self.state.best_metric, self.state.best_epoch, self.state.stale = value, self.state.epoch, 0
            self.weights.keep(self.state.epoch)
        else:
            self.state.stale += 1
        return value

    def save(self) -> None:
        """Called by all workers at once."""
        if self.checkpoint is None:
            return
        self.state.saves += 1
        self.weights.save(self.state.saves)
        if self.workers.first:
            random = {"now": self.generator.get_state(), "epoch_start": self.epoch_start}
            groups = self.weights.groups() | {"random": random}
            save_checkpoint(self.checkpoint, self.state, groups, self.optimizer, self.settings)
        self.weights.saved(self.state)
        self.saved_at = time.monotonic()

    def _resume(self, path: Path) -> None:
        self.state, groups = load_checkpoint(path, self.optimizer, self.settings)
        self.weights.resume(groups, self.state)
        self.generator.set_state(groups["random"]["now"])
        self.epoch_start = groups["random"]["epoch_start"]
