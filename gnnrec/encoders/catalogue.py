"""Encoders by name. What is not a name is a folder with a model of Hugging Face, or its id on the hub."""

from pathlib import Path
from typing import Any

import torch

from gnnrec.encoders.efficientnet import EfficientNetEncoder
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.musicnn import MusicnnEncoder
from gnnrec.encoders.pretrained import require
from gnnrec.encoders.resemblyzer import ResemblyzerEncoder
from gnnrec.encoders.use import UseEncoder

ENCODERS: dict[str, dict[str, Any]] = {
    "text": {"use": UseEncoder},
    "image": {"efficientnet_lite0": EfficientNetEncoder},
    "audio": {"musicnn": MusicnnEncoder, "resemblyzer": ResemblyzerEncoder},
}


def open_encoder(modality: str, name: str, device: torch.device | str = "cpu") -> Encoder:
    """The encoder `name` of a modality, its weights on `device`. Raises UserError where they are not here."""
    return ENCODERS[modality][name](require(name), name, torch.device(device))
