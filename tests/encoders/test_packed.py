"""Packed layers give what linear layers give, and leave alone what is none."""

import copy

import pytest
import torch
from torch import nn

from gnnrec.encoders.packed import PackedLinear, pack_linear


class Special(nn.Linear):
    pass


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (3, 5, 24), (2, 0, 24)])
def test_a_packed_layer_gives_what_the_layer_gave(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer, rows = nn.Linear(24, 10, bias=bias), torch.randn(shape)
    packed = PackedLinear(layer)
    assert torch.allclose(packed(rows), layer(rows), atol=1e-5)
    assert (packed.in_features, packed.out_features) == (24, 10)


def test_a_model_is_packed_in_place_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Sequential(Special(8, 4), nn.Linear(4, 3).double()))
    before = copy.deepcopy(model[0])
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    pack_linear(model)
    assert type(model[0]) is nn.Linear
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    pack_linear(model)
    assert [type(module) for module in (model[0], *model[2])] == [PackedLinear, Special, nn.Linear]
    rows = torch.randn(5, 6)
    assert torch.allclose(model[0](rows), before(rows), atol=1e-5)
