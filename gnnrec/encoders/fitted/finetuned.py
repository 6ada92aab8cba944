"""A pretrained encoder of texts, pictures or sounds, trained on who took what: all of it, or adapters of low rank.

What was learnt is added to the weights, so that the folder is that of an ordinary model.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from gnnrec.encoders.classes import ENCODERS, HANDMADE, HUGGING_FACE
from gnnrec.encoders.efficientnet import EfficientNetEncoder
from gnnrec.encoders.features import TrainableEncoder
from gnnrec.encoders.fitted.bases import base_folder
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import facts_of, read_facts
from gnnrec.encoders.fitted.log_training import LearningConfig, LogTraining, check_learning
from gnnrec.encoders.huggingface import (
    AUTO,
    HuggingFaceAudioEncoder,
    HuggingFaceImageEncoder,
    HuggingFaceTextEncoder,
    copy_text_files,
)
from gnnrec.encoders.lora import add_adapters, merge_adapters, pointwise_layers
from gnnrec.encoders.musicnn import MusicnnEncoder
from gnnrec.encoders.pretrained import prefix_of
from gnnrec.encoders.resemblyzer import ResemblyzerEncoder
from gnnrec.encoders.sentence_transformer import POOLINGS
from gnnrec.encoders.torchvision_models import PREFIX
from gnnrec.errors import UserError

RATES = {"lora": 3e-4, "full": 3e-5}  # way -> learning rate
DEFAULTS = {"text": "minilm", "image": "efficientnet_lite0", "audio": "musicnn"}  # modality -> base
TRAINABLE = (  # what has TrainableEncoder's parts
    HuggingFaceTextEncoder,
    HuggingFaceImageEncoder,
    HuggingFaceAudioEncoder,
    EfficientNetEncoder,
    MusicnnEncoder,
    ResemblyzerEncoder,
)
NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetunedConfig(LearningConfig):
    """Of one encoder that `gnnrec fit-encoder --kind finetuned` makes."""

    modality: str = "text"  # text | image | audio
    base: str = ""  # a name, a folder, or an id of the hub; empty: minilm, efficientnet_lite0 or musicnn
    pooling: str = AUTO  # of texts, as encoders.pooling
    how: str = "lora"  # lora | full

    def __post_init__(self) -> None:
        check_learning(self, "encoder")
        for key, allowed in (("how", tuple(RATES)), ("modality", tuple(DEFAULTS)), ("pooling", (AUTO, *POOLINGS))):
            if getattr(self, key) not in allowed:
                raise UserError(f"encoder.{key}: found {getattr(self, key)!r}; allowed: {', '.join(allowed)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig(LearningConfig):
    """Of a recipe: which of its encoders `gnnrec train` fine-tunes, and how."""

    text: str = NONE  # none | lora | full
    image: str = NONE
    audio: str = NONE
    frozen: bool = True  # whether the model is trained with the frozen encoders too, in RUN/frozen

    def __post_init__(self) -> None:
        check_learning(self, "finetune")
        for key in DEFAULTS:
            if getattr(self, key) not in (NONE, *RATES):
                raise UserError(f"finetune.{key}: found {getattr(self, key)!r}; allowed: {', '.join((NONE, *RATES))}")

    def chosen(self) -> dict[str, str]:
        """Modality -> how."""
        ways = {"text": self.text, "image": self.image, "audio": self.audio}
        return {modality: how for modality, how in ways.items() if how != NONE}

    def of(self, modality: str, base: str, pooling: str) -> FinetunedConfig:
        """The settings of one encoder."""
        shared = {field.name: getattr(self, field.name) for field in fields(LearningConfig)}
        return FinetunedConfig(modality=modality, base=base, pooling=pooling, how=self.chosen()[modality], **shared)


def fit_finetuned(corpus: Corpus, config: FinetunedConfig, folder: Path) -> dict[str, Any]:
    """ "held_out" is NDCG@10 among items that were not learnt from, before training and after each epoch.

    Raises UserError for a base that cannot be trained, and where too few items can be read that somebody took.
    """
    base = config.base or DEFAULTS[config.modality]
    check_trainable(config.modality, base, "encoder.base")
    source = base_folder(base)
    encoder = _opened(config.modality, base, source, prefix_of(base), config.pooling, corpus.device)
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
        "prefix": encoder.prefix if isinstance(encoder, HuggingFaceTextEncoder) else "",
        "epochs": len(training.history) - 1,
        "best_epoch": training.best_epoch,
        "held_out": training.history,
    }


def open_finetuned(folder: Path, name: str, device: torch.device) -> TrainableEncoder:
    """The encoder of a folder that `fit_finetuned` filled, of the class of its base."""
    facts = read_facts(folder)
    assert facts is not None
    encoder = _opened(facts["modality"], facts["base"], folder, facts["prefix"], facts["settings"]["pooling"], device)
    encoder.name = name
    return encoder


def check_trainable(modality: str, base: str, where: str) -> None:
    """Raises UserError for an encoder whose weights cannot learn; `where` is the setting that names it."""
    fitted = facts_of(base) is not None
    if base.startswith(PREFIX) or fitted or not issubclass(_class_of(modality, base), TRAINABLE):
        named = [name for name, made in ENCODERS[modality].items() if issubclass(made, TRAINABLE)]
        what = f"{base}{', which was made here,' if fitted else ''}"
        allowed = ", ".join([*named, "or a model of Hugging Face"])
        raise UserError(f"{where}: {what} cannot be fine-tuned; allowed: {allowed}")


def _class_of(modality: str, base: str) -> Any:
    return HANDMADE[modality].get(base) or ENCODERS[modality].get(base, HUGGING_FACE[modality])


def _opened(
    modality: str, base: str, folder: Path, prefix: str | None, pooling: str, device: torch.device
) -> TrainableEncoder:
    how = {"prefix": prefix, "pooling": pooling} if modality == "text" else {}
    encoder: TrainableEncoder = _class_of(modality, base)(folder, base, device, **how)
    return encoder
