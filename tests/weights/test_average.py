"""An average that catches up is the one that went along."""

import pytest
import torch

from gnnrec.weights.average import Decay, caught_up


@pytest.mark.parametrize("limit", [0.3, 0.9, 0.98])
def test_rows_that_stood_still_have_the_average_of_all_steps(limit: float) -> None:
    decay, weight = Decay(limit), torch.tensor([[2.0], [-1.0], [5.0]]).double()
    average = torch.tensor([[1.0], [3.0], [0.0]]).double()
    since = torch.tensor([4, 30, 0])  # the last one never moved, so that its average is itself
    for until in (30, 31, 700):
        expected = average.clone()
        for row, first in enumerate(since.tolist()):
            for updates in range(first + 1, until + 1):
                share = 1 - min(limit, updates / (10 + updates))
                expected[row] += share * (weight[row] - expected[row])
        expected[2] = weight[2]
        torch.testing.assert_close(caught_up(weight, average, since, until, decay), expected, rtol=1e-6, atol=1e-9)


def test_an_average_of_nearly_all_steps_needs_no_room() -> None:
    left = Decay(1 - 1e-9).left(torch.tensor([100]), 200)
    assert left.item() == pytest.approx(torch.arange(101.0, 201).div(torch.arange(111.0, 211)).prod().item(), rel=1e-5)
    assert not Decay(0.0) and Decay(0.5).share(100) == 0.5
