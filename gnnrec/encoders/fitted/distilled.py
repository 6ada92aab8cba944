"""A smaller text encoder that is taught to give what a larger one gives: some of its layers, trained on one's texts."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from gnnrec.encoders.fitted.compact_texts import open_base
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.teaching import lessons, teach
from gnnrec.encoders.huggingface import save_model
from gnnrec.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilledConfig:
    base: str = "minilm"  # the teacher: a text encoder of Hugging Face, a name, a folder, or an id of the hub
    layers: int = 2  # of the teacher's that the student begins with, evenly spread; 0: token embeddings alone
    epochs: int = 8  # at most
    batch_size: int = 32
    learning_rate: float = 3e-4
    seed: int = 0

    def __post_init__(self) -> None:
        for key, least in (("layers", 0), ("epochs", 1), ("batch_size", 1)):
            if getattr(self, key) < least:
                raise UserError(f"encoder.{key}: found {getattr(self, key)}; allowed: {least} or more")
        if not self.learning_rate > 0:
            raise UserError(f"encoder.learning_rate: found {self.learning_rate}; allowed: more than 0")


def fit_distilled(corpus: Corpus, config: DistilledConfig, folder: Path) -> dict[str, Any]:
    """The log is not looked at. "distance" is 1 - cosine to the teacher on texts held out, before and after."""
    texts = [str(text) for text in corpus.contents if text is not None]
    encoder, facts = open_base(config.base, folder)
    student = _student(encoder.model, config)
    given = lessons(encoder, texts, config.batch_size, config.seed)
    encoder.model = student
    found = teach(encoder, given, epochs=config.epochs, learning_rate=config.learning_rate, seed=config.seed)
    save_model(student, folder)
    return facts | {"distance": found}


def _student(teacher: nn.Module, config: DistilledConfig) -> Any:
    """A copy of the teacher with only some of its layers."""
    student: Any = copy.deepcopy(teacher)
    total = student.config.num_hidden_layers
    if config.layers >= total:
        raise UserError(f"encoder.layers: found {config.layers}; allowed: less than the {total} of {config.base}")
    for parent in list(student.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ModuleList) and len(child) == total:
                chosen = np.linspace(0, total - 1, config.layers).round().astype(int).tolist()
                parent.register_module(name, nn.ModuleList([child[place] for place in chosen]))
                student.config.num_hidden_layers = config.layers
                return student.eval()
    raise UserError(f"encoder.base: found {config.base}, without a list of {total} layers; allowed: BERT and its like")
