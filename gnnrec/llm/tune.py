"""`gnnrec tune`: a language model learns, from the training log, to order the graph's best candidates.

Two stages over training windows (windows.py), each by a softmax over the window: adapters and head on the text alone;
then, with all that frozen, projectors of the graph's embeddings into soft tokens and a head of their own. The soft
tokens stay on only where validation shows that what they say matters: the real ones have to be better than none, zero,
shuffled ones, and another user's.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator

from gnnrec.checkpoint import TrainState, load_checkpoint, save_checkpoint
from gnnrec.errors import UserError, count
from gnnrec.language.local import LocalLM
from gnnrec.llm.block_scorer import Prompts
from gnnrec.llm.cards import CARD_VERSION, Cards
from gnnrec.llm.controls import held_against_controls, matters
from gnnrec.llm.items import readable_items
from gnnrec.llm.past import pasts_of
from gnnrec.llm.rerank import validation_windows
from gnnrec.llm.tuned_model import TunedModel
from gnnrec.llm.tuned_scorer import FILE, Tuned, TunedScorer, graph_vectors, save_tuned
from gnnrec.llm.windows import TrainingWindow, training_windows
from gnnrec.progress import progress
from gnnrec.ranking import fast_arithmetic
from gnnrec.threads import one_thread
from gnnrec.vault import sha256_of

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.run_folder import Run

CHECKPOINTS = ("tuned.text.checkpoint.safetensors", "tuned.soft.checkpoint.safetensors")  # while it goes on
SAVE_EVERY = 25  # steps
WARM_UP = 10  # steps in which the learning rate rises


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    windows: int = 800  # of the first stage
    soft_windows: int = 400  # of the second; 0: no soft tokens
    negatives: int = 7  # of each window
    batch: int = 4  # windows of a step
    rank: int = 8  # of the adapters
    lr: float = 3e-4  # of the adapters
    head_lr: float = 1e-3  # of heads and projectors
    val_users: int = 100  # whose windows the soft tokens are held against their controls on, at most
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("windows", "negatives", "batch", "rank", "val_users"):
            if getattr(self, name) < 1:
                raise UserError(f"tune.{name}: found {getattr(self, name)}; allowed: 1 or more")
        for name in ("soft_windows", "seed"):
            if getattr(self, name) < 0:
                raise UserError(f"tune.{name}: found {getattr(self, name)}; allowed: 0 or more")
        for name in ("lr", "head_lr"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"tune.{name}: found {getattr(self, name)}; allowed: above 0, at most 1")


class Tuning:
    """One tuning of one run. What a stopped one had learnt is in the run folder, and is taken up again."""

    def __init__(self, run: "Run", model: TunedModel, prompts: Prompts, config: TuneConfig, window: int) -> None:
        self.run, self.model, self.config, self.window = run, model, config, window
        self.text = TunedScorer(model, prompts, None, "text", fast=True)
        self.soft = TunedScorer(model, prompts, model.soft, "real", fast=True) if model.soft is not None else None
        self.losses: list[list[float]] = []
        self.cpu_seconds = 0.0  # of learning, what a stopped tuning spent included
        weights = sha256_of(run.folder / "weights.safetensors")
        self._settings = json.dumps([asdict(config), window, model.lm.name, prompts.name, weights])

    def learn(self, say: Callable[[str], None] = lambda line: None) -> None:
        """Both stages; leaves the losses of their steps in `losses`, stage by stage."""
        model, config = self.model, self.config
        adapters = {"params": list(model.adapters().values()), "lr": config.lr}
        self._stage(0, config.windows, [adapters, {"params": list(model.head.parameters())}], self.text)
        say(f"adapters: {self._describe(0)}")
        if self.soft is None or model.soft is None:
            return
        for weight in model.adapters().values():
            weight.requires_grad_(False)
        model.soft_head.load_state_dict(model.head.state_dict())
        learnt = [*model.soft.parameters(), *model.soft_head.parameters()]
        self._stage(1, config.soft_windows, [{"params": learnt}], self.soft)
        say(f"soft tokens: {self._describe(1)}")

    def _describe(self, stage: int) -> str:
        losses = self.losses[stage]
        first, last = np.mean(losses[:SAVE_EVERY]), np.mean(losses[-SAVE_EVERY:])
        return f"loss {first:.3f} -> {last:.3f} in {count(len(losses), 'step')}"

    def _stage(self, number: int, size: int, groups: list[dict[str, Any]], scorer: TunedScorer) -> None:
        optimizer = torch.optim.AdamW(groups, lr=self.config.head_lr, weight_decay=0.0)
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        path, steps = self.run.folder / CHECKPOINTS[number], -(-size // self.config.batch)
        losses, spent = self._taken_up(path, optimizer) if path.exists() else ([], 0.0)
        began = process_time() - spent
        for batch in self._batches(number, len(losses), steps):
            for group, rate in zip(optimizer.param_groups, rates):
                group["lr"] = rate * min(1.0, (len(losses) + 1) / WARM_UP) * (1 - len(losses) / steps)
            losses.append(step(self.model, scorer, batch, optimizer))
            if len(losses) % SAVE_EVERY == 0 or len(losses) == steps:
                rows = [{"loss": loss} for loss in losses]
                state = TrainState(step=len(losses), seconds=process_time() - began, history=rows)
                save_checkpoint(path, state, {"learnt": self.model.tensors()}, optimizer, self._settings)
        self.losses.append(losses)
        self.cpu_seconds += process_time() - began

    def _taken_up(self, path: Path, optimizer: torch.optim.Optimizer) -> tuple[list[float], float]:
        """The losses and seconds so far of a stopped tuning, whose weights are put in place."""
        state, groups = load_checkpoint(path, optimizer, self._settings)
        self.model.load(groups["learnt"])
        return [row["loss"] for row in state.history], state.seconds

    def _batches(self, stage: int, begin: int, end: int) -> Iterator[list[TrainingWindow]]:
        """Those of steps `begin` to `end`, the same ones however often the tuning was stopped."""
        size, config = self.config.batch, self.config
        windows = training_windows(
            self.run,
            lambda item: self.text.prompts.cards.title(item) is not None,
            self.window,
            config.negatives,
            2 * config.seed + stage,
        )
        left = islice(windows, begin * size, None)
        for _ in progress(range(begin, end), text="tuning", unit="step"):
            yield list(islice(left, size))


def step(
    model: TunedModel, scorer: TunedScorer, batch: Sequence[TrainingWindow], optimizer: torch.optim.Optimizer
) -> float:
    """One step on the windows of `batch`; its loss: minus log p of the thing taken, by a softmax over its window."""
    pasts = [scorer.past(window.user, window.past) for window in batch]
    cards = [[card for item in window.items if (card := scorer.card(item)) is not None] for window in batch]
    with one_thread():  # two would wait for each other (scripts/bench/NOTES.md)
        with fast_arithmetic(model.lm.device):
            scores = model.scores(pasts, cards, scorer.soft)
            loss = -torch.stack([values.log_softmax(0)[0] for values in scores]).mean()
        optimizer.zero_grad()
        loss.backward()
    optimizer.step()
    return float(loss.detach())


def check_settings(llm: "LLMConfig") -> None:
    """Raises UserError for a model elsewhere, whose weights cannot be learnt, and for another way of judging."""
    if llm.provider != "local":
        raise UserError(f"llm.provider: found {llm.provider!r}; allowed with tune: local, since weights are learnt")
    if llm.scorer not in ("", "tuned"):
        raise UserError(f"llm.scorer: found {llm.scorer!r}; allowed with tune: none, or tuned")


def tune(
    run: "Run", lm: LocalLM, llm: "LLMConfig", config: TuneConfig, say: Callable[[str], None] = lambda line: None
) -> Tuned:
    """Tune a language model for a run and keep it there; a stopped call goes on. Raises UserError where one is there
    already, and where the items have no text."""
    path = run.folder / FILE
    if path.exists():
        raise UserError(f"{path}: there is a tuned language model already; delete it to make another")
    cards = llm.cards(talks=False)
    items = readable_items(run, cards.fields)
    vectors = graph_vectors(run, run.graph) if config.soft_windows else None
    model = TunedModel(lm, config.rank, vectors, Generator().manual_seed(config.seed))
    prompts = Prompts(lm, Cards(items, lm.tokens, cards), llm.noun)
    tuning = Tuning(run, model, prompts, config, llm.window)
    tuning.learn(say)
    controls = {}
    if tuning.soft is not None and vectors is not None:
        users, windows, _, hits = validation_windows(run, llm.window, config.val_users)
        asked = (pasts_of(run.train, users.tolist()), windows.tolist(), users.tolist())
        controls = held_against_controls(tuning.soft, tuning.text, vectors, asked, hits, config.seed)
    facts = Tuned(
        weights=sha256_of(run.folder / "weights.safetensors"),
        model=llm.model,
        revision=lm.name,
        noun=llm.noun,
        history=llm.history,
        fields=llm.fields,
        whole=cards.whole,
        taste=llm.taste,
        user_tokens=llm.user_tokens,
        field_tokens=llm.field_tokens,
        rank=config.rank,
        projectors=vectors is not None,
        soft=matters(controls),
        controls=controls,
        settings=asdict(config),
        wording=CARD_VERSION,
        cpu_seconds=round(tuning.cpu_seconds, 1),
    )
    save_tuned(run, model, facts)
    for name in CHECKPOINTS:
        (run.folder / name).unlink(missing_ok=True)
    return facts
