"""How an encoder is made smaller or faster: the settings of `fit-encoder --kind compact`, and what needs no ONNX."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils import prune

from gnnrec.errors import UserError

WAYS = ("onnx_int8", "onnx_fp32", "bf16", "pruned")
DEFAULTS = {"text": "minilm", "image": "efficientnet_lite0"}  # modality -> base

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactConfig:
    modality: str = "text"  # text | image
    base: str = ""  # of texts a model of Hugging Face, of pictures torchvision:NAME; empty: minilm, efficientnet_lite0
    how: str = "onnx_int8"
    balance: float = 0.8  # of onnx_int8 of texts: how far large activations are moved into the weights; 0: not at all
    share: float = 0.3  # of pruned: of the weights of each layer that become zero

    def __post_init__(self) -> None:
        for key, allowed in (("modality", tuple(DEFAULTS)), ("how", WAYS)):
            if getattr(self, key) not in allowed:
                raise UserError(f"encoder.{key}: found {getattr(self, key)!r}; allowed: {', '.join(allowed)}")
        if not 0 <= self.balance <= 1:
            raise UserError(f"encoder.balance: found {self.balance}; allowed: 0 to 1")
        if not 0 < self.share < 1:
            raise UserError(f"encoder.share: found {self.share}; allowed: more than 0 and less than 1")


def smaller(network: Network, config: CompactConfig) -> Network:
    """The network itself, in bfloat16 or pruned: of each layer that share of the weights is zero, the smallest ones."""
    if config.how == "bf16":
        return network.to(torch.bfloat16)
    network.to(memory_format=torch.contiguous_format)  # pruning flattens weights as they lie
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=config.share)
            prune.remove(module, "weight")
    return network
