"""Pretrained encoders made smaller or faster, each of its modality: ONNX Runtime in int8 or fp32, bfloat16, pruning."""

from pathlib import Path
from typing import Any

import torch

from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.compact_pictures import CompactPictureEncoder, fit_pictures
from gnnrec.encoders.fitted.compact_texts import CompactTextEncoder, fit_texts
from gnnrec.encoders.fitted.compact_ways import DEFAULTS, CompactConfig
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import read_facts


def fit_compact(corpus: Corpus, config: CompactConfig, folder: Path) -> dict[str, Any]:
    """The log is not looked at; contents by onnx_int8 alone, which measures activations on some of them."""
    fit = fit_texts if config.modality == "text" else fit_pictures
    return fit(corpus, config, config.base or DEFAULTS[config.modality], folder)


def open_compact(folder: Path, name: str, device: torch.device) -> Encoder:
    """The encoder of a folder that `fit_compact` filled."""
    facts = read_facts(folder)
    assert facts is not None
    opened = CompactTextEncoder if facts["modality"] == "text" else CompactPictureEncoder
    return opened(folder, name, device)
