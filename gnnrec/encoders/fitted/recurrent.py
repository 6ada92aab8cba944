"""A recurrent encoder of sound, trained here: LSTM or GRU over a log-mel spectrogram, one way or both.

Two objectives, alone or together. `predict` needs no log: one way, the frame AHEAD is foretold (autoregressive
predictive coding, Chung et al. 2019); both ways, spans that were hidden are filled in (as in Mockingjay, Liu et al.
2020, here by a recurrent network). `log` learns who took what: a softmax, over the sounds of a batch, of inner products
with a free embedding of each user, so that the network is trained end to end on the train rows.

Letters: n clips, t frames, f mel bands, h width of the network in all directions, d dimensions, B sounds of a batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.encoders.augment import Sound, augmented
from gnnrec.encoders.fitted.corpus import Corpus, ndcg_among
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.log_mel import BANDS, HOP, LogMel
from gnnrec.encoders.media import Unreadable, read_audio
from gnnrec.errors import UserError
from gnnrec.progress import progress

WEIGHTS = "model.safetensors"
RATE = 16_000
AHEAD = 5  # frames of 20 ms that are looked ahead
HIDDEN_SHARE, SPAN = 0.3, 12  # of the frames that are hidden, in runs of so many
HELD_OUT = 8  # one sound of so many, and what was taken of it, selects the epoch
OBJECTIVES, CELLS = ("predict", "log", "both"), {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentConfig:
    objective: str = "both"  # predict | log | both
    cell: str = "gru"  # gru | lstm
    both_ways: bool = True  # bidirectional
    layers: int = 1
    hidden: int = 128  # of each direction
    dim: int = 64  # of the embedding that learns the log; with `predict` alone it has 2 h dimensions
    seconds: float = 3.0  # of a sound that a step hears, from a random place
    sounds: int = 5_000  # that are held in memory and learnt from, drawn at random where there are more
    batch: int = 128
    epochs: int = 40
    patience: int = 8  # epochs without a better one, then it stops
    learning_rate: float = 2e-3
    temperature: float = 0.2
    augment: bool = False  # whether a step hears sounds changed at random; in memory a sound is then 6 times as large
    seed: int = 0

    def __post_init__(self) -> None:
        for key, allowed in (("objective", OBJECTIVES), ("cell", tuple(CELLS))):
            if getattr(self, key) not in allowed:
                raise UserError(f"encoder.{key}: found {getattr(self, key)!r}; allowed: {', '.join(allowed)}")
        for key in ("layers", "hidden", "dim", "sounds", "epochs", "patience"):
            if getattr(self, key) < 1:
                raise UserError(f"encoder.{key}: found {getattr(self, key)}; allowed: 1 or more")
        if self.batch < 2:
            raise UserError(f"encoder.batch: found {self.batch}; allowed: 2 or more")
        if not 0.5 <= self.seconds <= 60:
            raise UserError(f"encoder.seconds: found {self.seconds}; allowed: 0.5 to 60")
        if self.learning_rate <= 0 or self.temperature <= 0:
            raise UserError("encoder.learning_rate, encoder.temperature: allowed: above 0")


class RecurrentNetwork(nn.Module):
    """Frames -> states -> one vector of a sound: mean and deviation of the states over time, projected."""

    level: Tensor  # [f] mean of each band over the sounds that were learnt from
    scale: Tensor  # [f]

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        width = config.hidden * (1 + config.both_ways)
        options = {"batch_first": True, "bidirectional": config.both_ways}
        self.cells = CELLS[config.cell](BANDS, config.hidden, config.layers, **options)
        self.frame = nn.Linear(width, BANDS)
        self.project = nn.Linear(2 * width, config.dim) if config.objective != "predict" else None
        self.register_buffer("level", torch.zeros(BANDS))
        self.register_buffer("scale", torch.ones(BANDS))

    def states(self, frames: Tensor) -> Tensor:
        """Log-mel frames, standardized. [n, t, f] -> [n, t, h]"""
        states: Tensor = self.cells(frames)[0]
        return states

    def embedding(self, states: Tensor) -> Tensor:
        """[n, t, h] -> [n, d], or [n, 2 h] where the log was not learnt."""
        pooled = torch.cat([states.mean(1), states.std(1, correction=0)], dim=1)
        return pooled if self.project is None else F.normalize(self.project(pooled), dim=1)


class RecurrentEncoder:
    """Sound -> its embedding, read as a whole."""

    sampling_rate = RATE

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.torch import load_file

        facts = read_facts(folder)
        assert facts is not None
        self.name, self._device = name, device
        self._network = RecurrentNetwork(RecurrentConfig(**facts["settings"]))
        self._network.load_state_dict(load_file(folder / WEIGHTS))
        self._network.eval().to(device)
        self._mel = LogMel(RATE).to(device)
        self.dim = self.encode([np.zeros(RATE, dtype=np.float32)]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    @torch.inference_mode()
    def prepare(self, batch: Iterable[Any]) -> list[Tensor]:
        """Of each sound its frames, [t, f]."""
        return [self._mel(torch.from_numpy(sound).to(self._device)) for sound in batch]

    @torch.inference_mode()
    def forward(self, ready: Sequence[Tensor]) -> NDArray[np.float32]:
        return np.concatenate([self._one(frames) for frames in ready])

    def _one(self, frames: Tensor) -> NDArray[np.float32]:
        states = self._network.states((frames - self._network.level)[None] / self._network.scale)
        return self._network.embedding(states).cpu().numpy()


def fit_recurrent(corpus: Corpus, config: RecurrentConfig, folder: Path) -> dict[str, Any]:
    """Raises UserError where fewer than 2 * HELD_OUT sounds can be read, or none of them was taken in train."""
    from safetensors.torch import save_file

    with torch.random.fork_rng():  # nobody else's random numbers are touched
        torch.manual_seed(config.seed)
        training = _Training(corpus, config)
        history = training.run()
    save_file(training.best, folder / WEIGHTS)
    return {"epochs": len(history), "best_epoch": training.best_epoch, "held_out": history}


class _Training:
    def __init__(self, corpus: Corpus, config: RecurrentConfig) -> None:
        self.config, self.device, self.augment = config, corpus.device, corpus.augment
        # Rows of the catalogue, a spectrogram of each, and where it is augmented the sound itself.
        self.items, self.frames, self.sounds = _read(corpus, config)
        self.mel = LogMel(RATE)
        if len(self.items) < 2 * HELD_OUT:
            raise UserError(f"fit-encoder: {len(self.items)} sounds can be read; needed are {2 * HELD_OUT} or more")
        matrix = corpus.train.matrix()[:, self.items]
        users = np.flatnonzero(np.diff(matrix.indptr))  # who took any of these sounds
        if config.objective != "predict" and not len(users):
            raise UserError("encoder.objective: no train row has a sound; allowed: predict")
        self.taken = matrix[users].tocsc()  # [users, sounds]
        shuffled = torch.randperm(len(self.items)).numpy()
        self.held_out, self.learnt = shuffled[::HELD_OUT], np.delete(shuffled, slice(None, None, HELD_OUT))
        self.network = RecurrentNetwork(config)
        sample = torch.cat([self.frames[sound].float() for sound in self.learnt[:500]])
        self.network.level.copy_(sample.mean(0))
        self.network.scale.copy_(sample.std(0).clamp(min=1e-3))
        self.network.to(self.device)
        self.user = nn.Parameter(0.1 * torch.randn(len(users), config.dim, device=self.device))
        parameters = [*self.network.parameters(), self.user]
        self.optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    def run(self) -> list[float]:
        """What the held-out sounds say after each epoch: higher is better. The best weights stay."""
        history: list[float] = []
        with progress(total=self.config.epochs, text="recurrent encoder", unit="epoch") as bar:
            for epoch in range(self.config.epochs):
                order = self.learnt[torch.randperm(len(self.learnt)).numpy()]
                for start in range(0, len(order), self.config.batch):
                    batch = order[start : start + self.config.batch]
                    if len(batch) > 1:
                        self._step(batch)
                history.append(self._measure())
                if history[-1] >= max(history):
                    self.best_epoch = epoch + 1
                    self.best = {name: value.cpu().clone() for name, value in self.network.state_dict().items()}
                bar.update(1)
                if epoch + 1 - self.best_epoch >= self.config.patience:
                    break
        return history

    def _step(self, batch: NDArray[np.int64]) -> None:
        self.optimizer.zero_grad()
        frames = self._views(batch) if self.config.augment else self._crops(batch)
        loss = torch.zeros((), device=self.device)
        if self.config.objective != "log":
            loss = loss + self._prediction_loss(frames)
        if self.config.objective != "predict":
            loss = loss + self._log_loss(self.network.embedding(self.network.states(frames)), batch)
        if loss.requires_grad:
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()

    def _crops(self, batch: NDArray[np.int64], middle: bool = False) -> Tensor:
        """The same number of frames of each sound, from a random place; shorter ones are repeated. [B, t, f]"""
        length = int(self.config.seconds * RATE / HOP)
        crops = []
        for sound in batch:
            frames = self.frames[sound]
            frames = frames.repeat(-(-length // len(frames)), 1)
            spare = len(frames) - length
            start = spare // 2 if middle else int(torch.randint(spare + 1, ()))
            crops.append(frames[start : start + length])
        return self._standardized(crops)

    def _views(self, batch: NDArray[np.int64]) -> Tensor:
        """As `_crops`, of another view of each sound: what is cut out is augmented, then made frames. [B, t, f]"""
        length, cuts = int(self.config.seconds * RATE), []
        for sound in batch:
            samples = self.sounds[sound]
            start = int(torch.randint(max(len(samples) - length, 0) + 1, ()))
            cuts.append(Sound(np.resize(samples[start : start + length], length).astype(np.float32), RATE))
        views = augmented(cuts, "audio", self.augment, int(torch.randint(2**31, ())))
        return self._standardized([self.mel(torch.from_numpy(view.samples)) for view in views])

    def _standardized(self, frames: Sequence[Tensor]) -> Tensor:
        return (torch.stack(list(frames)).float().to(self.device) - self.network.level) / self.network.scale

    def _prediction_loss(self, frames: Tensor) -> Tensor:
        """Mean absolute error per band of what was not heard."""
        if not self.config.both_ways:
            foretold = self.network.frame(self.network.states(frames[:, :-AHEAD]))
            return F.l1_loss(foretold, frames[:, AHEAD:])
        starts = torch.rand(frames.shape[:2], device=frames.device) < HIDDEN_SHARE / SPAN
        hidden = F.max_pool1d(starts.float()[:, None], SPAN, 1, SPAN // 2)[:, 0, : frames.shape[1]] > 0  # [B, t]
        filled = self.network.frame(self.network.states(frames.masked_fill(hidden[..., None], 0.0)))
        return ((filled - frames).abs().mean(2) * hidden).sum() / hidden.sum().clamp(min=1)

    def _log_loss(self, embedded: Tensor, batch: NDArray[np.int64]) -> Tensor:
        """Mean over the train rows of these sounds of -log p(sound | user), p among the sounds of the batch."""
        taken = self.taken[:, batch].tocsr()
        users = np.flatnonzero(np.diff(taken.indptr))
        if not len(users):
            return embedded.sum() * 0
        rows = F.normalize(self.user[torch.from_numpy(users).to(self.device)], dim=1)
        log_p = F.log_softmax(rows @ embedded.T / self.config.temperature, dim=1)
        wanted = torch.from_numpy(taken[users].toarray()).to(self.device)
        return -(log_p * wanted).sum() / wanted.sum()

    @torch.no_grad()
    def _measure(self) -> float:
        """NDCG@10 of the held-out sounds among themselves; without the log minus the error of prediction."""
        blocks = [self.held_out[start : start + 64] for start in range(0, len(self.held_out), 64)]
        if self.config.objective == "predict":
            with torch.random.fork_rng():  # the same spans are hidden every time
                torch.manual_seed(0)
                return -float(np.mean([float(self._prediction_loss(self._crops(block, True))) for block in blocks]))
        embedded = torch.cat([self.network.embedding(self.network.states(self._crops(part, True))) for part in blocks])
        return ndcg_among(F.normalize(self.user, dim=1), embedded, self.taken[:, self.held_out].tocsr())


def _read(corpus: Corpus, config: RecurrentConfig) -> tuple[NDArray[np.int64], list[Tensor], list[NDArray[np.float16]]]:
    """Rows of the catalogue whose sound can be read, their log-mel frames [t, f] in 16 bits, and with `augment` the
    sounds."""
    there = np.flatnonzero([content is not None for content in corpus.contents])
    if len(there) > config.sounds:
        there = np.sort(there[torch.randperm(len(there)).numpy()[: config.sounds]])
    mel, items, frames, sounds = LogMel(RATE), [], [], []
    for item in progress(there, text="reading sounds", unit="sound"):
        try:
            sound = read_audio(Path(str(corpus.contents[item])), RATE, corpus.audio_seconds)
        except (Unreadable, OSError):
            continue  # encode lists them
        items.append(item)
        frames.append(mel(torch.from_numpy(sound)).half())
        if config.augment:
            sounds.append(sound.astype(np.float16))
    return np.array(items, dtype=np.int64), frames, sounds
