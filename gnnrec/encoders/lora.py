"""Low-rank adapters beside the weights of a model (LoRA, Hu et al. 2022), by peft."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gnnrec.errors import missing_extra

ADAPTER = "lora_"  # in the names of the adapters' weights


def add_adapters(model: nn.Module, targets: Sequence[str], rank: int, seed: int) -> None:
    """Put adapters beside the linear layers and convolutions of these names, in place; all other weights stand still.

    Scaled by 2 (alpha is twice the rank), without dropout; at first the model gives what it gave. Raises UserError
    without peft.
    """
    peft = _peft()
    model.requires_grad_(False)
    settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=list(targets))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(settings, model)


def merge_adapters(model: nn.Module) -> None:
    """Add what the adapters learnt to the weights beside them, and take them out, in place."""
    layer = _peft().tuners.tuners_utils.BaseTunerLayer
    for name, module in list(model.named_modules()):
        if isinstance(module, layer):
            adapted: Any = module
            adapted.merge()
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, adapted.get_base_layer())


def pointwise_layers(model: nn.Module) -> list[str]:
    """The names of the linear layers, and of the convolutions that are linear layers at every place."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.groups == 1 and module.kernel_size == (1, 1))
    ]


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise missing_extra("lora", "peft") from error
    return peft
