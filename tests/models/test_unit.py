"""unit_rows against torch's normalize: values, gradients, rows of zeros."""

import torch
import torch.nn.functional as F

from gnnrec.models.unit import unit_rows


def test_values_and_gradients_are_those_of_normalize() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(50, 7, generator=random, dtype=torch.float64)
    x[3] = 0.0
    weight = torch.randn(50, 7, generator=random, dtype=torch.float64)
    weight[3] = 0.0  # the direction of a row of zeros is nobody's
    found, expected = x.clone().requires_grad_(), x.clone().requires_grad_()
    values = unit_rows(found)
    torch.testing.assert_close(values, F.normalize(expected, dim=1))
    (values * weight).sum().backward()
    (F.normalize(expected, dim=1) * weight).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
    assert values[3].eq(0).all()


def test_the_gradient_is_that_of_differences() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, x)
