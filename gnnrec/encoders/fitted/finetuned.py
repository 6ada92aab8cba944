"""A pretrained encoder of texts or pictures, trained on who took what: all of it, or adapters of low rank.

What was learnt is added to the weights, so that the folder is that of an ordinary model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gnnrec.encoders.classes import ENCODERS, HUGGING_FACE
from gnnrec.encoders.features import Encoder, TrainableEncoder
from gnnrec.encoders.fitted.bases import base_folder, prefix_of
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.fitted.log_training import READ, LearningConfig, LogTraining
from gnnrec.encoders.huggingface import copy_text_files
from gnnrec.encoders.lora import add_adapters, merge_adapters, pointwise_layers
from gnnrec.errors import UserError

RATES = {"lora": 5e-4, "full": 3e-5}  # way -> learning rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetunedConfig(LearningConfig):
    modality: str = "text"  # text | image
    base: str = ""  # a name, a folder, or an id of the hub; empty: minilm, of pictures efficientnet_lite0
    how: str = "lora"  # lora | full

    def __post_init__(self) -> None:
        LearningConfig.__post_init__(self)
        for key, allowed in (("how", tuple(RATES)), ("modality", tuple(READ))):
            if getattr(self, key) not in allowed:
                raise UserError(f"encoder.{key}: found {getattr(self, key)!r}; allowed: {', '.join(allowed)}")


DEFAULTS = {"text": "minilm", "image": "efficientnet_lite0"}  # modality -> base


def fit_finetuned(corpus: Corpus, config: FinetunedConfig, folder: Path) -> dict[str, Any]:
    """ "held_out" is NDCG@10 among items that were not learnt from, before training and after each epoch.

    Raises UserError for a base that cannot be trained, and where too few items can be read that somebody took.
    """
    base = config.base or DEFAULTS[config.modality]
    source = base_folder(base)
    encoder = _opened(config.modality, base, source, prefix_of(base), corpus.device)
    if not isinstance(encoder, TrainableEncoder):
        raise UserError(
            f"encoder.base: {base} cannot be fine-tuned; allowed: {DEFAULTS[config.modality]}, or a model of "
            "Hugging Face"
        )
    encoder.model.requires_grad_(True)
    if config.how == "lora":
        add_adapters(encoder.model, pointwise_layers(encoder.model), config.rank, config.seed)
    rate = config.learning_rate or RATES[config.how]
    training = LogTraining(corpus, config.modality, config, encoder, rate)
    training.run()
    if config.how == "lora":
        merge_adapters(encoder.model)
    copy_text_files(source, folder)
    encoder.save(folder)
    return {
        "base": base,
        "prefix": prefix_of(base),
        "epochs": len(training.history) - 1,
        "best_epoch": training.best_epoch,
        "held_out": training.history,
    }


def open_finetuned(folder: Path, name: str, device: torch.device) -> Encoder:
    """The encoder of a folder that `fit_finetuned` filled, of the class of its base."""
    facts = read_facts(folder)
    assert facts is not None
    encoder = _opened(facts["modality"], facts["base"], folder, facts["prefix"], device)
    encoder.name = name
    return encoder


def _opened(modality: str, base: str, folder: Path, prefix: str, device: torch.device) -> Encoder:
    made = ENCODERS[modality].get(base, HUGGING_FACE[modality])
    encoder: Encoder = made(folder, base, device, **({"prefix": prefix} if prefix else {}))
    return encoder
