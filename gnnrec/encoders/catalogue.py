"""Encoders by name. What is not a name is a folder with a fitted encoder or a model of Hugging Face, or its id on the
hub."""

from pathlib import Path
from typing import Any

import torch

from gnnrec.encoders.classes import ENCODERS, HANDMADE, HUGGING_FACE
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.folder import FILE, read_facts
from gnnrec.encoders.fitted.kinds import KINDS
from gnnrec.encoders.huggingface import AUTO, HuggingFaceTextEncoder, revision
from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.encoders.pretrained import locate, prefix_of, require
from gnnrec.encoders.torchvision_models import PREFIX, TorchvisionEncoder
from gnnrec.errors import UserError
from gnnrec.untrusted import refusing


def open_encoder(modality: str, name: str, device: torch.device | str = "cpu", pooling: str = AUTO) -> Encoder:
    """The encoder of a modality with its weights on `device`; nothing is downloaded.

    name: a key of ENCODERS or HANDMADE, a name in PRETRAINED, a folder, an id of the hub, or for images
    "torchvision:NAME" or "torchvision:NAME:FILE".
    pooling: of texts by a model of Hugging Face; other modalities take no notice of it.
    Raises UserError where there is no such encoder, where its weights are not here, and where it cannot pool so.
    """
    device = torch.device(device)
    encoder = _open(modality, name, device, pooling)
    if modality == "text" and pooling != AUTO and not isinstance(encoder, HuggingFaceTextEncoder):
        raise UserError(f"encoders.pooling: found {pooling!r}, but {name} has no tokens to pool; allowed: {AUTO}")
    return encoder


def _open(modality: str, name: str, device: torch.device, pooling: str) -> Encoder:
    if name in ENCODERS[modality]:
        made = ENCODERS[modality][name]
        how = {"pooling": pooling} if made is HuggingFaceTextEncoder else {}
        return made(require(name), name, device, **how)
    if name in HANDMADE[modality]:
        handmade: Encoder = HANDMADE[modality][name](device)
        return handmade
    if modality == "image" and name.startswith(PREFIX):
        return TorchvisionEncoder(name, device)
    path = Path(name).expanduser()
    folder = path if path.is_dir() else locate(name)
    if folder is None and (path.is_absolute() or name.startswith(".")):  # no id of the hub looks so
        raise UserError(f"encoders.{modality}: {name}: {'a file' if path.exists() else 'no such folder'}")
    if folder is None and "/" not in name and name not in names_of(modality):
        allowed = f"{', '.join(names_of(modality))}, a folder, or an id of the hub such as OWNER/NAME"
        raise UserError(f"encoders.{modality} is {name!r}: allowed are {allowed}")
    folder = folder or require(name)
    if (facts := read_facts(folder)) is not None:
        return _open_fitted(facts, folder, modality, device)
    with refusing(folder, "cannot be used"):
        if modality == "text":
            return HuggingFaceTextEncoder(folder, name, device, prefix_of(name), pooling)
        other: Encoder = HUGGING_FACE[modality](folder, name, device)
        return other


def names_of(modality: str) -> list[str]:
    """Short names that a modality takes; texts take language models too, as the mean of their last layer."""
    tasks = (modality, "llm") if modality == "text" else (modality,)
    known = [name for name, model in PRETRAINED.items() if "/" not in name and model.task in tasks]
    return list(dict.fromkeys([*ENCODERS[modality], *HANDMADE[modality], *known]))


def _open_fitted(facts: dict[str, Any], folder: Path, modality: str, device: torch.device) -> Encoder:
    kind = KINDS.get(facts["kind"])
    if kind is None:
        raise UserError(f"{folder / FILE}: found kind {facts['kind']!r}; allowed: {', '.join(KINDS)}")
    if facts["modality"] != modality:
        raise UserError(f"encoders.{modality}: found {folder}, an encoder of {facts['modality']}")
    name = f"{folder.name}:{facts['kind']}@{revision(folder)}"
    with refusing(folder, "cannot be opened"):  # a file is missing or of another make
        encoder: Encoder = kind.opened(folder, name, device)
    return encoder
