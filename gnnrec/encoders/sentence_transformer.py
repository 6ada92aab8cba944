"""The files of sentence-transformers in the folder of a model: how states are pooled, what comes before and after.

Letters: n texts, t tokens, d dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.errors import UserError
from gnnrec.untrusted import parse_json, refusing

POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # [n, t, d], mask [n, t, 1] -> [n, d]
    "mean": lambda tokens, mask: (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1),
    "cls": lambda tokens, mask: tokens[:, 0],
    "max": lambda tokens, mask: tokens.masked_fill(mask == 0, -torch.inf).amax(dim=1),
    "lasttoken": lambda tokens, mask: tokens[
        torch.arange(len(tokens), device=tokens.device), mask.cumsum(dim=1).argmax(dim=1)[:, 0]
    ],
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "torch.nn.modules.linear.Identity": nn.Identity,
    "torch.nn.modules.activation.Tanh": nn.Tanh,
    "torch.nn.modules.activation.ReLU": nn.ReLU,
    "torch.nn.modules.activation.GELU": nn.GELU,
    "torch.nn.modules.activation.Sigmoid": nn.Sigmoid,
}
TANH = "torch.nn.modules.activation.Tanh"  # where nothing is said
KINDS = ("Transformer", "Pooling", "Dense", "Normalize")
DENSE = "model.safetensors"
WORKED_ON = ("module_input_name", "module_output_name")  # keys of a Dense part's config.json, which allows POOLED
DENSE_KEYS = ("in_features", "out_features", "bias", "activation_function", *WORKED_ON)
POOLED = "sentence_embedding"  # what a Dense part works on, in the words of sentence-transformers
DOCUMENTS = ("document", "passage", "corpus")  # names of the prompt for what is searched


class Normalize(nn.Module):
    def forward(self, pooled: Tensor) -> Tensor:
        return F.normalize(pooled, dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readout:
    """What is made of a model's states. Without such files their mean."""

    pooling: str = "mean"
    after: nn.Module  # [n, d] -> [n, another d], frozen
    prompt: tuple[str, str] = ("", "")  # name, and what a text begins with


def read_readout(folder: Path, width: int) -> Readout:
    """width: of the model's states.

    Raises UserError for kinds of modules, poolings and activations that are not known here, and for a damaged folder.
    """
    pooling, pooled, after = "mean", False, list[nn.Module]()
    prompt = _prompt(folder)
    for kind, inner in _modules(folder):
        if kind == "Pooling":
            settings = read_json(inner / "config.json", {})
            pooling, pooled = _pooling(settings), True
            if pooling not in POOLINGS:
                raise UserError(f"{folder}: pooling {pooling!r} is not known: allowed are {', '.join(POOLINGS)}")
            if prompt[1] and settings.get("include_prompt") is False:
                raise UserError(f"{inner}: include_prompt: found false; allowed: true, with prompt {prompt[0]!r}")
        elif kind == "Dense":
            if not pooled:
                raise UserError(f"{folder}: modules.json asks for Dense before Pooling: allowed is after it")
            layers, width = _dense(inner, width)
            after.extend(layers)
        elif kind == "Normalize":
            after.append(Normalize())
        elif kind not in KINDS:
            raise UserError(f"{folder}: modules.json asks for {kind}: allowed are {', '.join(KINDS)}")
    return Readout(pooling=pooling, after=nn.Sequential(*after).requires_grad_(False).eval(), prompt=prompt)


def weight_files(folder: Path) -> list[Path]:
    """What stands beside the weights of the model itself."""
    return [inner / DENSE for kind, inner in _modules(folder) if kind == "Dense"]


def max_seq_length(folder: Path) -> int | None:
    """The number of tokens at which texts are cut, where the folder says one."""
    said = read_json(folder / "sentence_bert_config.json", {}).get("max_seq_length")
    if said is not None and (not isinstance(said, int) or said < 1):
        raise UserError(
            f"{folder}/sentence_bert_config.json: max_seq_length: found {str(said)[:40]!r}; allowed: 1 or more"
        )
    return said


def read_json(path: Path, default: Any) -> Any:
    return parse_json(path.read_bytes(), path, type(default)) if path.exists() else default


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Kind and folder of each, in their order."""
    path = folder / "modules.json"
    for module in read_json(path, []):
        if not (isinstance(module, dict) and all(isinstance(module.get(key), str) for key in ("type", "path"))):
            raise UserError(f"{path}: found {str(module)[:40]!r}; expected objects with type and path")
        kind = module["type"].rsplit(".", 1)[-1]
        if module["path"] != Path(module["path"]).name or module["path"] == "..":
            raise UserError(f"{path}: {module['path'][:40]!r} is no folder in this one")
        yield kind, folder / module["path"]


def _dense(folder: Path, width: int) -> tuple[Sequence[nn.Module], int]:
    """A linear layer and its activation, and how wide what they give is."""
    from safetensors.torch import load_file

    path, where = folder / DENSE, folder / "config.json"
    settings = read_json(where, {})
    if (name := str(settings.get("activation_function", TANH))) not in ACTIVATIONS:
        raise UserError(f"{where}: activation_function: found {name[:60]!r}; allowed: {', '.join(ACTIVATIONS)}")
    for key in WORKED_ON:
        if (said := settings.get(key)) not in (None, POOLED):
            raise UserError(f"{where}: {key}: found {str(said)[:40]!r}; allowed: {POOLED}")
    if unknown := [key for key, value in settings.items() if value and key not in DENSE_KEYS]:  # such as use_residual
        raise UserError(f"{where}: found {str(unknown[0])[:40]!r}; allowed: {', '.join(DENSE_KEYS)}")
    if not path.is_file():
        raise UserError(f"{path} is missing: weights are read as safetensors only")
    with refusing(path):
        tensors = load_file(path)
    expected: dict[str, tuple[Any, ...]] = {"linear.weight": (settings.get("out_features"), width)}
    if settings.get("bias", True):
        expected["linear.bias"] = (settings.get("out_features"),)
    if (found := {key: tuple(value.shape) for key, value in tensors.items()}) != expected:
        raise UserError(f"{path}: found {found}; config.json and the layer before it say {expected}"[:300])
    weight = tensors["linear.weight"]
    linear = nn.utils.skip_init(nn.Linear, width, len(weight), bias="linear.bias" in tensors)
    linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in tensors.items()})
    return (linear, ACTIVATIONS[name]()), len(weight)


def _prompt(folder: Path) -> tuple[str, str]:
    """Name and text of the first of DOCUMENTS that there is. Unlike `encode_document` of sentence-transformers, which
    takes an empty "document" for granted, a "passage" counts; a default prompt, which is often that of queries, does
    not."""
    path = folder / "config_sentence_transformers.json"
    prompts = read_json(path, {}).get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str | None) for text in prompts.values()):
        raise UserError(f"{path}: prompts: found {str(prompts)[:40]!r}; expected texts by name")
    return next(((name, prompts[name]) for name in DOCUMENTS if prompts.get(name)), ("", ""))


def _pooling(settings: dict[str, Any]) -> str:
    """Of sentence-transformers before 6 there is a flag for each mode, since then a name or a list of them; the mean
    where nothing is said."""
    flags = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "lasttoken": "lasttoken"}
    chosen = [key.removeprefix("pooling_mode_") for key, value in settings.items() if value is True]
    named = settings.get("pooling_mode") or [flags.get(mode, mode) for mode in chosen if mode != "include_prompt"]
    return "+".join(map(str, named if isinstance(named, list) else [named])) or "mean"
