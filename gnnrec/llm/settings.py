"""Which language model, where it is, and how it is used: `--set llm.key=value`."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.encoders.pretrained import cache_root
from gnnrec.errors import UserError
from gnnrec.language.server import open_model, open_server
from gnnrec.language.settings import ModelConfig
from gnnrec.llm.cards import CardConfig, Cards, card_config
from gnnrec.vault import is_encrypted

if TYPE_CHECKING:
    from gnnrec.language.server import Server
    from gnnrec.llm.list_writer import ListWriter, TreeWriter
    from gnnrec.llm.rerank import CardScorer, Reranker
    from gnnrec.llm.tuned_scorer import Tuned
    from gnnrec.run_folder import Run

CACHE = "llm"  # folder of scores and weights in the cache
ANSWERS = "answers.sqlite"  # in it
SHIPPED = "smollm2"  # what a package carries
PASTS = ("titles", "card")  # what is told of a user
TUNED_WITH = ("model", "noun", "history", "past", "taste", "user_tokens", "fields", "field_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMConfig(ModelConfig):
    model: str = ""  # local: SHIPPED where none is named; a .gguf file does as well
    scorer: str = ""  # block, tuned, cosine (local), permutation, letters, none; empty: see `chosen_scorer`
    phrase: bool = False  # whether the model puts reasons into its own words, which are checked
    noun: str = "things"  # what the items are, in the plural, as the prompt calls them: movies, courses, …
    history: int = 10  # things of the user's past in the prompt, the newest ones
    past: str = ""  # titles, or card: what she gave them and what they have in common, too; empty: see `cards`
    taste: str = ""  # columns whose most frequent values a card tells, such as genres,year; empty: the second text
    user_tokens: int = 400  # of all that is told of a user
    fields: str = ""  # columns of the items that a candidate's card tells, such as genres,year; description, profile
    field_tokens: int = 24  # of all these together
    window: int = 20  # candidates that are reordered
    beam: int = 32  # beginnings of titles that --generate follows at a time, with local weights
    cap: int = 5  # places that a candidate can win at most, whatever its text says
    val_users: int = 300  # of validation that the weight is chosen on, at most
    calls: int = 2_000
    tokens: int = 2_000_000

    section = "llm"

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        self.check_least_one("history", "user_tokens", "field_tokens", "window", "beam", "cap", "val_users")
        if self.past not in ("", *PASTS):
            raise UserError(f"llm.past: found {self.past!r}; allowed: {', '.join(PASTS)}")
        self.check_noun(self.noun)
        allowed = ("block", "tuned", "cosine") * (self.provider == "local") + ("permutation", "letters", "none")
        if self.scorer and self.scorer not in allowed:
            raise UserError(f"llm.scorer: found {self.scorer!r}; allowed with {self.provider}: {', '.join(allowed)}")
        # Also where the provider chose the scorer: what a list leaves out would stand at the mean, unasked.
        if self.chosen_scorer in ("permutation", "letters") and self.window > 20:
            raise UserError(f"llm.window: found {self.window}; allowed with {self.chosen_scorer}: 20 or less")
        if self.base_url and not self.model:
            raise UserError("llm.model: found ''; allowed with openai: the name of a model of the server")
        object.__setattr__(self, "model", self.model or SHIPPED)

    def cards(self, talks: bool) -> CardConfig:
        """`talks`: whether the model answers in words; by default such a one is told more than titles, since what
        likelihoods are read of is a list of titles (docs/words.md has what either brings)."""
        whole = (self.past or PASTS[talks]) == "card"
        sizes = {"user_tokens": self.user_tokens, "field_tokens": self.field_tokens}
        return card_config(self.history, self.fields, taste=self.taste, whole=whole, **sizes)

    @property
    def chosen_scorer(self) -> str:
        """block, and of a server permutation, where none is said (tuned, where the run has a tuned model)."""
        return self.scorer or ("block" if self.provider == "local" else "permutation")


def open_scorer(run: "Run", config: LLMConfig) -> "CardScorer":
    """What judges the candidates of a run. Raises UserError where its items have no text, or the model is not here."""
    from gnnrec.language.local_server import LocalServer
    from gnnrec.llm.block_scorer import BlockScorer
    from gnnrec.llm.cosine_scorer import CosineScorer
    from gnnrec.llm.items import readable_items
    from gnnrec.llm.list_scorers import LISTS, NullScorer
    from gnnrec.llm.tuned_scorer import open_tuned

    if (tuned := tuned_for(run, config)) is not None:
        return open_tuned(run, tuned, open_model(tuned.model, trainable=True), kept_for(run))
    if config.chosen_scorer == "none":
        return NullScorer()
    if config.chosen_scorer == "cosine":
        return CosineScorer(run.graph, config.history)
    folder, cards = kept_for(run), config.cards(talks=config.chosen_scorer != "block")
    items = readable_items(run, cards.fields)
    answers = folder and folder / ANSWERS
    if config.provider == "local":
        model = open_model(config.model)
        local = Cards(items, model.tokens, cards)
        if config.chosen_scorer == "block":
            return BlockScorer(model, local, config.noun, folder)
        server = LocalServer(model, config.budget())
        if config.chosen_scorer == "letters":
            server.letter_tokens()  # raises where letters cannot be told apart, before anything is asked
        return LISTS[config.chosen_scorer](server, local, config.noun, answers)
    endpoint = open_server(config)
    return LISTS[config.chosen_scorer](endpoint, Cards(items, counted_by(endpoint), cards), config.noun, answers)


def tuned_for(run: "Run", config: LLMConfig) -> "Tuned | None":
    """The run's tuned model where it is to be used: asked for, or there and neither another scorer nor another model.

    Raises UserError for settings that it was not tuned with.
    """
    from gnnrec.llm.tuned_scorer import FILE, read_tuned

    there = not config.scorer and config.provider == "local" and (run.folder / FILE).exists()
    if not there and config.scorer != "tuned":
        return None
    tuned = read_tuned(run)
    if there and config.model not in (SHIPPED, tuned.model):
        return None
    learnt = tuned.to_json() | {"past": PASTS[tuned.whole]}
    for field in fields(config):
        found, unsaid = getattr(config, field.name), SHIPPED if field.name == "model" else field.default
        if field.name in TUNED_WITH and found not in (unsaid, learnt[field.name]):
            raise UserError(
                f"llm.{field.name}: found {found!r}; allowed with {run.folder / FILE}: {learnt[field.name]!r}, with "
                f"which it was tuned; llm.scorer=block leaves it aside"
            )
    return tuned


def open_list_writer(run: "Run", config: LLMConfig) -> "ListWriter":
    """What writes whole lists for a run: a tuned model with its soft tokens where these are on, else the model as it
    comes. Raises UserError where its items have no text, or the model is not here."""
    from gnnrec.llm.items import readable_items
    from gnnrec.llm.list_writer import ListWriter, ServerWriter, TreeWriter

    items, tuned = readable_items(run), tuned_for(run, config)
    if tuned is not None and tuned.soft:
        return ListWriter(run, tuned_writer(run, tuned, config), soft=True)
    if config.provider == "local":
        model = open_model(config.model)
        cards = replace(config.cards(talks=False), fields=(), whole=False)
        writer = TreeWriter(model, Cards(items, model.tokens, cards), config.noun, config.beam, budget=config.budget())
        return ListWriter(run, writer, soft=None if tuned is None else False)
    server, folder = open_server(config), kept_for(run)
    answers = folder and folder / ANSWERS
    cards = replace(config.cards(talks=True), fields=())
    return ListWriter(run, ServerWriter(server, Cards(items, counted_by(server), cards), config.noun, answers))


def tuned_writer(run: "Run", tuned: "Tuned", config: LLMConfig) -> "TreeWriter":
    """By the tuned weights, with everything the run knows behind the soft tokens."""
    from gnnrec.llm.list_writer import TreeWriter
    from gnnrec.llm.tuned_scorer import open_tuned

    scorer, items = open_tuned(run, tuned, open_model(tuned.model, trainable=True), None).knowing_all(run), run.items
    assert items is not None
    model = scorer.model.lm
    cards = Cards(items, model.tokens, replace(tuned.cards, fields=(), whole=False))
    return TreeWriter(model, cards, tuned.noun, config.beam, scorer.soft, config.budget())


def kept_for(run: "Run") -> Path | None:
    """Where answers about a run are kept; nowhere of an encrypted one, since they are plain."""
    return None if is_encrypted(run.folder) else cache_root() / CACHE


def counted_by(server: "Server") -> Callable[[str], list[int]]:
    """As many tokens as the server counts, or is held to count: which ones is not known."""
    return lambda text: [0] * server.num_tokens(text)


def open_reranker(
    run: "Run",
    config: LLMConfig,
    say: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] | None = None,
) -> "Reranker":
    """The reranker of a run; its weight is chosen on validation the first time, and kept in the cache.

    check: see `choose_weight`.
    """
    from gnnrec.llm.block_scorer import BlockScorer
    from gnnrec.llm.rerank import Reranker, weight_for
    from gnnrec.llm.tuned_scorer import TunedScorer

    scorer = open_scorer(run, config)
    weight = weight_for(run, scorer, config, kept_for(run) or run.folder, say, check)
    if isinstance(scorer, TunedScorer):
        scorer = scorer.knowing_all(run)
    if isinstance(scorer, BlockScorer | TunedScorer):  # choosing costs time alone, and once; llm.val_users bounds it
        scorer.passes.budget = config.budget()
    return Reranker(run, scorer, config, weight)
