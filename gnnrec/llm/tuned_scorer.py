"""TunedScorer: the candidates of a run judged by the language model that `gnnrec tune` tuned for it.

tuned.safetensors in the run folder holds what was learnt, and in its metadata what it belongs to, how it was made, and
what its soft tokens were worth.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.llm.block_scorer import Prompts
from gnnrec.llm.cards import CARD_VERSION, CardConfig, Cards, card_config
from gnnrec.llm.items import readable_items
from gnnrec.llm.passes import Pair, Passes, Tokens
from gnnrec.llm.past import Past
from gnnrec.llm.settings import LLMConfig
from gnnrec.llm.soft_tokens import SoftTokens, Vectors
from gnnrec.llm.tuned_model import TunedModel
from gnnrec.ranking import fast_arithmetic
from gnnrec.recipe import parse_table
from gnnrec.tensor_files import open_tensors, save_tensors
from gnnrec.untrusted import refusing
from gnnrec.vault import sha256_of

if TYPE_CHECKING:
    from gnnrec.language.local import LocalLM
    from gnnrec.run_folder import Run

FILE = "tuned.safetensors"
DOWN = ".lora_A."  # in the names of the halves of adapters that have a row for each rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What stands beside the weights. `controls`: as `soft_tokens_matter` gives them."""

    weights: str  # sha256 of the run's own weights
    model: str  # the language model, as it was named, and with its revision
    revision: str
    noun: str
    history: int
    fields: str
    whole: bool = False
    taste: str = ""
    user_tokens: int = 400
    field_tokens: int = 24
    rank: int
    projectors: bool  # whether any were learnt
    soft: bool  # and whether they are used
    controls: dict[str, dict[str, float]]
    settings: dict[str, Any]
    wording: int = 0  # CARD_VERSION of the cards that it learnt from; 0: not kept yet
    cpu_seconds: float = 0.0  # that the learning took, of all cores; 0: not kept yet

    @property
    def cards(self) -> CardConfig:
        sizes = {"user_tokens": self.user_tokens, "field_tokens": self.field_tokens}
        return card_config(self.history, self.fields, whole=self.whole, taste=self.taste, **sizes)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class TunedScorer:
    """`soft`: None: the text alone counts. `name`: what the scores depend on beside prompts and cards. `fast`: with
    rounded products, where the hardware is faster with them: for figures that are means over many users."""

    def __init__(
        self,
        model: TunedModel,
        prompts: Prompts,
        soft: SoftTokens | None,
        name: str,
        folder: Path | None = None,
        *,
        fast: bool = False,
    ) -> None:
        self.model, self.prompts, self.soft, self.folder, self.fast = model, prompts, soft, folder, fast
        self.name = name
        self.passes = Passes(self._read, name, folder, model.lm.device)
        self.failures = self.passes.failures

    def past(self, user: int, history: Past) -> Tokens:
        if self.soft is None:
            return self.prompts.past(history)
        return self.prompts.past(history, (self.soft.nobody() if user < 0 else self.soft.user(user),))

    def card(self, item: int) -> Tokens | None:
        return self.prompts.card(item, () if self.soft is None else (self.soft.item(item),))

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int]
    ) -> list[NDArray[np.float64]]:
        """Candidates of B users (-1: of nobody whom the run knows), the most urgent first -> [N] each; nan where an
        item has no card, and where the budget (`passes.budget`) did not last for a list."""
        cards = {item: self.card(item) for window in windows for item in window}
        asked: list[list[Pair | None]] = []
        for user, history, window in zip(users, histories, windows):
            past = self.past(user, history)
            asked.append([(past, card) if (card := cards[item]) is not None else None for item in window])
        return self.passes.lists(asked)

    def reading(self, vectors: Vectors, name: str) -> "TunedScorer":
        """The same with other embeddings behind the soft tokens; itself where it has none."""
        if self.soft is None:
            return self
        soft, name = self.soft.reading(vectors), f"{self.name} {name}"
        return TunedScorer(self.model, self.prompts, soft, name, self.folder, fast=self.fast)

    def knowing_all(self, run: "Run") -> "TunedScorer":
        """The same with everything the run knows behind the soft tokens, validation included: for the time of use."""
        if self.soft is None:
            return self
        known = run.embeddings
        return self.reading((known.user, known.item), "known")

    @torch.no_grad()
    def _read(self, prefixes: Sequence[Tokens], blocks: Sequence[Sequence[Tokens]]) -> list[NDArray[np.float64]]:
        with fast_arithmetic(self.model.lm.device) if self.fast else nullcontext():
            return [values.double().cpu().numpy() for values in self.model.scores(prefixes, blocks, self.soft)]


def graph_vectors(run: "Run", graph: HeteroData) -> Vectors | None:
    """The run's embeddings with the interactions of `graph` as histories; None of a model without any."""
    if not run.has_embeddings:
        return None
    with torch.no_grad():
        made = run.model(graph)
    return made.user, made.item


def save_tuned(run: "Run", model: TunedModel, facts: Tuned) -> Path:
    path = run.folder / FILE
    save_tensors(path, model.tensors(), {"tuned": json.dumps(facts.to_json())})
    return path


def read_tuned(run: "Run") -> Tuned:
    """What is known of the run's tuned model. Raises UserError where there is none, or it is another run's."""
    path = run.folder / FILE
    if not path.exists():
        raise UserError(f"{run.folder}: no tuned language model; make one: gnnrec tune {run.folder}")
    with refusing(path), open_tensors(path) as file:
        facts: Tuned = parse_table(Tuned, json.loads((file.metadata() or {})["tuned"]), str(path))
        # Before layers of this size are made: no larger than the file.
        ranks = {file.get_slice(name).get_shape()[0] for name in file.keys() if DOWN in name}  # noqa: SIM118
    _check(facts, ranks, path)
    if facts.weights != sha256_of(run.folder / "weights.safetensors"):
        raise UserError(f"{path}: was tuned for other weights than this run's; make it anew: gnnrec tune {run.folder}")
    if facts.wording != CARD_VERSION:
        raise UserError(
            f"{path}: was tuned on cards of version {facts.wording}, found {CARD_VERSION} in this release; "
            f"make it anew: gnnrec tune {run.folder}"
        )
    return facts


def _check(facts: Tuned, ranks: set[int], path: Path) -> None:
    """Raises UserError for what no tuning writes."""
    sizes = {name: getattr(facts, name) for name in ("history", "user_tokens", "field_tokens")}
    try:
        LLMConfig(noun=facts.noun, **sizes)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if ranks != {facts.rank}:
        raise UserError(f"{path}: rank: found {facts.rank}, and adapters of {sorted(ranks)}")


def open_tuned(run: "Run", facts: Tuned, lm: "LocalLM", folder: Path | None) -> TunedScorer:
    """With the train rows as what the graph knows, as validation asks for; see `TunedScorer.reading`. lm: trainable,
    and this scorer's own."""
    path = run.folder / FILE
    if lm.name != facts.revision:
        raise UserError(f"{path}: was tuned from {facts.revision}, found {lm.name}")
    vectors = graph_vectors(run, run.graph) if facts.projectors else None
    model = TunedModel(lm, facts.rank, vectors, Generator().manual_seed(0))
    try:
        with open_tensors(path, "pt") as file:
            model.load({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    model.only_to_read()
    cards = Cards(readable_items(run, facts.cards.fields), lm.tokens, facts.cards)
    prompts = Prompts(lm, cards, facts.noun)
    name = f"tuned {sha256_of(path)[:16]} {lm.name} {prompts.name}"
    return TunedScorer(model, prompts, model.soft if facts.soft else None, name, folder)
