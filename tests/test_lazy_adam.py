"""The rule of Adam on dense gradients, that of SparseAdam on sparse ones."""

import pytest
import torch
import torch.nn.functional as F

from gnnrec.lazy_adam import LazyAdam


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_dense_gradients_move_as_by_adam(decay: float) -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 12).view(4, 3)) for _ in range(2))
    first, second = LazyAdam([ours], lr=0.1, weight_decay=decay), torch.optim.Adam([theirs], lr=0.1, weight_decay=decay)
    for step in range(5):
        for parameter, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            (parameter.sin() * (step + 1)).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_sparse_gradients_move_their_rows_alone_as_by_sparse_adam() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 30).view(10, 3)) for _ in range(2))
    first, second = LazyAdam([ours], lr=0.1), torch.optim.SparseAdam([theirs], lr=0.1)
    for rows in ([1, 4, 4], [4, 2], [1], [9, 1, 2]):
        before = ours.detach().clone()
        for parameter, optimizer in ((ours, first), (theirs, second)):
            optimizer.zero_grad()
            F.embedding(torch.tensor(rows), parameter, sparse=True).square().sum().backward()
            optimizer.step()
        still = [row for row in range(10) if row not in rows]
        assert torch.equal(ours[still], before[still])
    torch.testing.assert_close(ours, theirs)
