"""Linear layers of a model that only reads, by oneDNN: on processors whose widest registers the other library (MKL)
leaves alone, such as AMD's, products of float32 matrices take half the time (scripts/bench/NOTES.md).

Letters: n rows, d inputs, k outputs.
"""

import torch
from torch import Tensor, nn


class PackedLinear(nn.Module):
    """What a linear layer gives, [..., d] -> [..., k], without gradients. Holds the weights in oneDNN's own order, so
    that they can be neither trained nor read back."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, "none", [], "")
        return made


def pack_linear(model: nn.Module) -> None:
    """Pack all linear layers of a float32 model on the CPU, in place; where it would bring nothing, they stay."""
    if not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return
    for name in [name for name, module in model.named_modules() if type(module) is nn.Linear]:
        layer = model.get_submodule(name)  # by name, so that what is packed is let go of before the next one is
        assert isinstance(layer, nn.Linear)
        if layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32:
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, PackedLinear(layer))
