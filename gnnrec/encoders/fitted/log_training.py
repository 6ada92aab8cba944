"""An encoder of texts, pictures or sounds learns from the log: who took what decides what its vectors are near to.

A step encodes a batch of items and scores them for some of the users who took them: a softmax of cosines over the items
of the batch that a user did not take and the one she did. Items are drawn evenly, so that the correction for sampling
(logQ) would be the same for all of them. Items as they were encoded before, a memory, are no negatives: what is encoded
now would learn to be told from them by a shift that all of it shares.

What a user is stands in `signal`:
  history      the mean of the other things she took, as the encoder has them
  users        a free embedding, which begins as that mean
  recommender  her embedding in a trained recommender, which stands still, through a linear map that is learnt

With the objective `views` the log is not learnt from: two augmented copies of each item are encoded, and each has to
find the other among those of the batch (SimCLR, Chen et al. 2020). Deviations: no projection head, and vectors are
standardized as all are here. `both` adds this to the softmax, which then sees one of the copies. Whatever is learnt
from, the items held out select the epoch by the log.

Letters: U users, I items, d dimensions of a feature, D of a recommender's, B items of a step, R pairs of user and item.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.checkpoint import TrainState, load_checkpoint, save_checkpoint
from gnnrec.encoders.augment import Sound, augmented
from gnnrec.encoders.features import AudioEncoder, TrainableEncoder, mean_and_scale
from gnnrec.encoders.fitted.corpus import Corpus, ndcg_among
from gnnrec.encoders.media import Unreadable, reader_of
from gnnrec.errors import UserError
from gnnrec.losses import align_views
from gnnrec.progress import progress
from gnnrec.ranking import fast_arithmetic

OBJECTIVES = ("log", "views", "both")
SIGNALS = ("history", "users", "recommender")
HELD_OUT = 8  # one item of so many selects the epoch
POOL = 16  # batches among whose texts those of like length are put together
SIGNAL_RATE = 1e-3  # learning rate of what stands for a user


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningConfig:
    objective: str = "log"  # log | views | both
    signal: str = "history"  # history | users | recommender
    rank: int = 8  # of the adapters of lora
    epochs: int = 5
    patience: int = 2  # epochs without a better one, then it stops
    batch: int = 64  # items of a step, which are each other's negatives
    users: int = 32  # of an item that a step learns from, drawn anew each time
    learning_rate: float = 0.0  # 0 takes that of the way: .0003 of lora, .00003 of full
    temperature: float = 0.1
    augment: bool = False  # whether each epoch sees another augmented copy of the content; views are such in any case
    seed: int = 0


def check_learning(config: LearningConfig, section: str) -> None:
    """Raises UserError for what is not allowed; `section` is where the user wrote it."""
    for key, allowed in (("objective", OBJECTIVES), ("signal", SIGNALS)):
        if getattr(config, key) not in allowed:
            raise UserError(f"{section}.{key}: found {getattr(config, key)!r}; allowed: {', '.join(allowed)}")
    for key in ("rank", "epochs", "patience", "users"):
        if getattr(config, key) < 1:
            raise UserError(f"{section}.{key}: found {getattr(config, key)}; allowed: 1 or more")
    if config.batch < 2:
        raise UserError(f"{section}.batch: found {config.batch}; allowed: 2 or more")
    if not config.learning_rate >= 0:
        raise UserError(f"{section}.learning_rate: found {config.learning_rate}; allowed: 0 or more")
    if not config.temperature > 0:
        raise UserError(f"{section}.temperature: found {config.temperature}; allowed: above 0")


class LogTraining:
    """Trains what of `encoder.model` has a gradient, in place."""

    def __init__(
        self, corpus: Corpus, modality: str, config: LearningConfig, encoder: TrainableEncoder, rate: float
    ) -> None:
        """Raises UserError where too few items can be read that somebody took."""
        self.corpus, self.modality, self.config, self.encoder = corpus, modality, config, encoder
        self.reader = reader_of(modality, encoder, corpus.audio_seconds)
        # Of texts, so that those of like length are encoded together: little padding.
        self.lengths = np.array([len(str(content)) if modality == "text" else 0 for content in corpus.contents])
        self.rows = torch.zeros(len(corpus.contents), encoder.dim)  # [I, d] as the items were before the epoch
        self.known = self._encode(np.flatnonzero([content is not None for content in corpus.contents]))
        self._settle()
        log = corpus.train.matrix()
        usable = np.intersect1d(self.known, log.indices)
        if len(usable) < 2 * HELD_OUT:
            raise UserError(
                f"fit-encoder: {len(usable)} items with {modality} that can be read were taken in train; "
                f"needed are {2 * HELD_OUT} or more"
            )
        shuffled = np.random.default_rng(config.seed).permutation(usable)
        self.held_out, self.learnt = np.sort(shuffled[::HELD_OUT]), np.delete(shuffled, slice(None, None, HELD_OUT))
        self.wanted = log[:, self.held_out]  # [U, held out]
        self.log = _only(log, self.learnt)  # [U, I]
        self.takers = self.log.tocsc()
        self.queries = Queries(config.signal, F.normalize(self._pasts(), dim=1), corpus)
        self.queries.to(corpus.device)
        self.weights = {name: weight for name, weight in encoder.model.named_parameters() if weight.requires_grad}
        groups = [{"params": list(self.weights.values()), "lr": rate}]
        if learnt := list(self.queries.parameters()):
            groups.append({"params": learnt, "lr": SIGNAL_RATE})
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
        self.history: list[float] = []  # NDCG@10 among the items held out, by epoch; the first is of the frozen encoder
        self.best: dict[str, Tensor] = {}

    @property
    def best_epoch(self) -> int:
        """0 where the frozen encoder was best."""
        return int(np.argmax(self.history))

    def run(self) -> None:
        """All epochs, or those that a stopped call left; the weights that were best on the items held out stay."""
        path = self.corpus.checkpoint
        identity = self._identity() if path else ""
        if path and path.exists():
            self._resume(*load_checkpoint(path, self.optimizer, identity))
        else:
            self._measure()
        with progress(total=self.config.epochs, text="fine-tuning", unit="epoch") as bar:
            bar.update(len(self.history) - 1)
            while len(self.history) <= min(self.config.epochs, self.best_epoch + self.config.patience):
                random = np.random.default_rng((self.config.seed, len(self.history)))
                for items in progress(self._batches(random), text=f"epoch {len(self.history)}", unit="step"):
                    self._step(items, random)
                self._encode(self.known)
                self._settle()
                self._measure()
                bar.update(1)
                if path:
                    state = TrainState(history=[{"held_out": value} for value in self.history])
                    save_checkpoint(path, state, self._tensors(), self.optimizer, identity)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(self.best[name])

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        queries = dict(self.queries.named_parameters())
        return {"weights": dict(self.weights), "best": self.best, "queries": queries, "items": {"rows": self.rows}}

    def _resume(self, state: TrainState, groups: dict[str, dict[str, Tensor]]) -> None:
        self.history = [row["held_out"] for row in state.history]
        self.best = {name: value.to(self.corpus.device) for name, value in groups["best"].items()}
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(groups["weights"][name])
            for name, weight in self.queries.named_parameters():
                weight.copy_(groups["queries"][name])
        self.rows = groups["items"]["rows"]
        self._settle()

    def _identity(self) -> str:
        """What decides how the training goes: settings, contents, log."""
        digest = hashlib.sha256(json.dumps([str(content) for content in self.corpus.contents]).encode())
        for array in (self.corpus.train.user, self.corpus.train.item, self.corpus.users):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        settings = [asdict(self.config), asdict(self.corpus.augment)]
        return json.dumps([*settings, self.encoder.name, sorted(self.weights), digest.hexdigest()])

    def _batches(self, random: Generator) -> list[NDArray[np.int64]]:
        order, size = random.permutation(self.learnt), self.config.batch
        pools = [self._by_length(order[start : start + POOL * size]) for start in range(0, len(order), POOL * size)]
        batches = [pool[start : start + size] for pool in pools for start in range(0, len(pool), size)]
        return [batches[place] for place in random.permutation(len(batches))]

    def _by_length(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        return items[np.argsort(self.lengths[items], kind="stable")]

    def _step(self, items: NDArray[np.int64], random: Generator) -> None:
        contents, objective = [self._read(item) for item in items], self.config.objective
        changed = self.config.augment or objective != "log"
        first = self._fresh(self._augmented(contents, random) if changed else contents, items)
        loss = first.new_zeros(())
        if objective != "views":
            loss = loss + self.loss(first, items, *self._pairs(items, random))
        if objective != "log":
            second = self._fresh(self._augmented(contents, random), items)
            there = torch.ones(len(items), dtype=torch.bool, device=first.device)
            loss = loss + align_views([(first, there), (second, there)], self.config.temperature)
        if not loss.requires_grad:
            return  # one item alone has no others to be told from
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(list(self.weights.values()), 1.0)
        self.optimizer.step()

    def _fresh(self, contents: list[Any], items: NDArray[np.int64]) -> Tensor:
        """The vectors of these items by such content, with their gradient. [B, d]"""
        with fast_arithmetic(self.corpus.device):
            rows = self.encoder.embed(contents).float()
        return self.vectors(rows, items)

    def _augmented(self, contents: list[Any], random: Generator) -> list[Any]:
        """Another copy of each content, as encoders take it."""
        seed = int(random.integers(2**31))
        if not isinstance(self.encoder, AudioEncoder):
            return augmented(contents, self.modality, self.corpus.augment, seed)
        sounds = [Sound(samples, self.encoder.sampling_rate) for samples in contents]
        return [sound.samples for sound in augmented(sounds, self.modality, self.corpus.augment, seed)]

    def vectors(self, rows: Tensor, items: NDArray[np.int64]) -> Tensor:
        """Features of items as they are now -> of unit length, without the way that all of them went since the epoch
        began: where features are used their mean is taken out, so that nothing would hold it here. [B, d]"""
        return self._unit(rows - (rows - self.rows[items].to(rows.device)).mean(0))

    def loss(
        self, fresh: Tensor, items: NDArray[np.int64], user: NDArray[np.int64], place: NDArray[np.int64]
    ) -> Tensor:
        """Mean of -log p(item | user) over pairs [R] of a user and the place in `items` of what she took; p among that
        item and those of `items` that she did not take. fresh: the vectors of `items`. [B, d]"""
        taken = self.log[user][:, items].toarray() > 0  # [R, B]
        taken[np.arange(len(user)), place] = False
        query = self.queries(user, lambda: self._pasts(user) - self.bank[items[place]])  # [R, d]
        scores = (query.to(fresh.device) @ fresh.T / self.config.temperature).masked_fill(
            torch.from_numpy(taken).to(fresh.device), -torch.inf
        )
        return F.cross_entropy(scores, torch.from_numpy(place).to(fresh.device))

    def _pairs(self, items: NDArray[np.int64], random: Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Users who took these items, at most so many of each, and the item's place. [R], [R]"""
        takers = [self.takers.indices[self.takers.indptr[item] : self.takers.indptr[item + 1]] for item in items]
        drawn = [random.permutation(users)[: self.config.users] for users in takers]
        place = np.repeat(np.arange(len(items)), [len(users) for users in drawn])
        return np.concatenate(drawn).astype(np.int64), place

    def _pasts(self, user: NDArray[np.int64] | None = None) -> Tensor:
        """The sum of what each user took of the items that are learnt from; of some users or all. [R or U, d]"""
        if user is None:
            return torch.from_numpy(self.log @ self.bank.numpy())
        unique, place = np.unique(user, return_inverse=True)
        return torch.from_numpy(self.log[unique] @ self.bank.numpy())[place]

    def _measure(self) -> None:
        """How well the items held out are ranked among themselves, by the mean of what a user took of the others."""
        self.history.append(ndcg_among(F.normalize(self._pasts(), dim=1), self.bank[self.held_out], self.wanted))
        if self.best_epoch == len(self.history) - 1:
            self.best = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _encode(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Put the features of these items into `rows`; returns those of them that can be read, ascending."""
        known, order, size = [], self._by_length(items), self.config.batch
        for start in progress(range(0, len(order), size), text="encoding", unit="batch"):
            views = [(item, view) for item in order[start : start + size] if (view := self._read(item)) is not None]
            if views:
                with torch.no_grad(), fast_arithmetic(self.corpus.device):
                    found = self.encoder.embed([view for _, view in views]).float().cpu()
                self.rows[[item for item, _ in views]] = found
                known += [item for item, _ in views]
        return np.sort(np.array(known, dtype=np.int64))

    def _settle(self) -> None:
        """Standardize `rows` as they are now; `bank` has them at unit length, zeros for what cannot be read. [I, d]"""
        self.mean, self.scale = mean_and_scale(self.rows[self.known])
        self.bank = torch.zeros_like(self.rows)
        self.bank[self.known] = self._unit(self.rows[self.known])

    def _read(self, item: int) -> Any:
        """Content as encoders take it, or None."""
        try:
            return self.reader(self.corpus.contents[item])
        except (Unreadable, OSError):
            return None  # encode lists them

    def _unit(self, rows: Tensor) -> Tensor:
        """Standardized and of unit length: cosines of what encoders give say little, since all of it points the same
        way."""
        return F.normalize((rows - self.mean.to(rows.device)) / self.scale.to(rows.device), dim=1)


class Queries(nn.Module):
    """What stands for a user, of unit length."""

    given: Tensor  # [U, D]

    def __init__(self, signal: str, pasts: Tensor, corpus: Corpus) -> None:
        super().__init__()
        self.signal = signal
        if signal == "users":
            self.own = nn.Parameter(pasts.clone())  # [U, d]
        if signal == "recommender":
            if corpus.users is None:
                raise UserError(
                    "encoder.signal: found 'recommender', but there is none; allowed: history, users; "
                    "gnnrec train --set finetune.signal=recommender has one"
                )
            self.register_buffer("given", torch.from_numpy(corpus.users))
            self.map = nn.Parameter(torch.linalg.lstsq(self.given, pasts, driver="gelsd").solution)  # [D, d]

    def forward(self, user: NDArray[np.int64], pasts: Any) -> Tensor:
        """`pasts` is called for [R, d] where it is needed. -> [R, d]"""
        if self.signal == "history":
            return F.normalize(pasts(), dim=1)
        chosen = torch.from_numpy(user)
        return F.normalize(self.own[chosen] if self.signal == "users" else self.given[chosen] @ self.map, dim=1)


def _only(matrix: sp.csr_array, columns: NDArray[np.int64]) -> sp.csr_array:
    """The matrix with zeros in all other columns."""
    kept = np.zeros(matrix.shape[1], dtype=matrix.dtype)
    kept[columns] = 1
    only = sp.csr_array(matrix @ sp.diags_array(kept))
    only.eliminate_zeros()
    return only
