"""Which language model, where it is, and how it is used: `--set llm.key=value`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gnnrec.encoders.pretrained import PRETRAINED, cache_root, locate, require
from gnnrec.errors import UserError

if TYPE_CHECKING:
    from gnnrec.llm.local import LocalLM
    from gnnrec.llm.rerank import Reranker
    from gnnrec.run_folder import Run

CACHE = "llm"  # folder of scores and weights in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMConfig:
    model: str = "smollm2"  # a name of `gnnrec models`, an id of the hub, a folder, or a .gguf file
    noun: str = "things"  # what the items are, in the plural, as the prompt calls them: movies, courses, …
    history: int = 10  # things of the user's past in the prompt, the newest ones
    window: int = 20  # candidates that are reordered
    cap: int = 5  # places that a candidate can win at most, whatever its text says

    def __post_init__(self) -> None:
        for name in ("history", "window", "cap"):
            if getattr(self, name) < 1:
                raise UserError(f"llm.{name}: found {getattr(self, name)}; allowed: 1 or more")
        if not self.noun.replace(" ", "").replace("-", "").isalpha():
            raise UserError(f"llm.noun: found {self.noun!r}; allowed: letters, such as movies")


def open_model(name: str) -> "LocalLM":
    """The language model by name; nothing is downloaded. Raises UserError where it is not here."""
    from gnnrec.encoders.encode import default_device
    from gnnrec.encoders.huggingface import revision
    from gnnrec.files import sha256_of_file
    from gnnrec.llm.local import LocalLM

    path = Path(name).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return LocalLM(path, f"{path.name}@{sha256_of_file(path)[:12]}", default_device())
    models = [known for known, model in PRETRAINED.items() if model.task == "llm"]
    folder = path if path.is_dir() else locate(name)
    if folder is None and name not in models and "/" not in name:
        raise UserError(f"llm.model is {name!r}: allowed are {', '.join(models)}, a folder, a .gguf file, or a hub id")
    folder = folder or require(name)
    return LocalLM(folder, f"{name}@{revision(folder)}", default_device())


def open_reranker(run: "Run", config: LLMConfig, say: Callable[[str], None] = lambda line: None) -> "Reranker":
    """The reranker of a run; its weight is chosen on validation the first time, and kept in the cache."""
    from gnnrec.llm.block_scorer import BlockScorer
    from gnnrec.llm.cards import CardConfig, Cards
    from gnnrec.llm.rerank import RerankConfig, Reranker, weight_for

    if run.items is None or not run.items.text_columns:
        raise UserError(f"{run.folder}: its items have no text, so there is nothing that a language model could read")
    model = open_model(config.model)
    cards = Cards(run.items, model.tokens, CardConfig(history=config.history))
    folder = cache_root() / CACHE
    scorer = BlockScorer(model, cards, config.noun, folder)
    bounds = RerankConfig(window=config.window, cap=config.cap)
    return Reranker(run, scorer, bounds, weight_for(run, scorer, bounds, folder, say))
