"""Propagation against dense products, NumPy and finite differences."""

import numpy as np
import pytest
import torch

from gnnrec.datasets import powerlaw
from gnnrec.graph import build_graph, operator
from gnnrec.propagate import SparseOperator, normalize_edges

ROWS, COLUMNS, EDGES, DIM = 23, 17, 90, 5


def random_edges(seed: int = 0, edges: int = EDGES) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    source = torch.randint(COLUMNS, (edges,), generator=random)
    target = torch.randint(ROWS // 2, (edges,), generator=random) * 2  # odd rows stay empty
    return source, target, torch.randn(edges, generator=random)


def dense_of(source: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    dense = torch.zeros(ROWS, COLUMNS, dtype=torch.float64)
    for s, t, w in zip(source.tolist(), target.tolist(), weight.tolist()):
        dense[t, s] += w  # repeated edges add up
    return dense


@pytest.mark.parametrize("edges", [0, 1, EDGES, 2000])
def test_forward_and_backward_equal_the_dense_product(edges: int) -> None:
    source, target, weight = random_edges(edges=edges)
    operator = SparseOperator.from_edges(source, target, weight, (ROWS, COLUMNS))
    x = torch.randn(COLUMNS, DIM, requires_grad=True)
    upstream = torch.randn(ROWS, DIM)
    y = operator @ x
    y.backward(upstream)
    dense = dense_of(source, target, weight)
    torch.testing.assert_close(y.double(), dense @ x.double(), atol=1e-4, rtol=1e-5)
    assert x.grad is not None
    torch.testing.assert_close(x.grad.double(), dense.T @ upstream.double(), atol=1e-4, rtol=1e-5)
    assert torch.equal(y[1::2], torch.zeros(ROWS // 2, DIM))


def test_a_table_without_columns_is_carried_as_one():
    """As that of items of which no content is known; kernels of some processors refuse it."""
    operator = SparseOperator(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1]), torch.ones(3), (2, 3))
    assert (operator @ torch.zeros(3, 0)).shape == (2, 0)


def test_gradient_is_that_of_finite_differences() -> None:
    operator = SparseOperator.from_edges(*random_edges(1), (ROWS, COLUMNS))
    x = torch.randn(COLUMNS, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: (operator @ x).tanh(), (x,))


def test_transposed_is_the_transpose_and_its_own_inverse() -> None:
    source, target, weight = random_edges(2)
    operator = SparseOperator.from_edges(source, target, weight, (ROWS, COLUMNS))
    identity = torch.eye(ROWS)
    dense = dense_of(source, target, weight).T.float()
    torch.testing.assert_close(operator.transposed @ identity, dense)
    assert operator.transposed.shape == (COLUMNS, ROWS)
    assert operator.transposed.transposed is operator


@pytest.mark.parametrize("rows", [[3, 0, 0, 22, 4], [1], []])
def test_select_rows_takes_them_in_the_order_asked_for(rows: list[int]) -> None:
    source, target, weight = random_edges(3)
    operator = SparseOperator.from_edges(source, target, weight, (ROWS, COLUMNS))
    selected = operator.select_rows(torch.tensor(rows, dtype=torch.int64))
    assert selected.shape == (len(rows), COLUMNS)
    x = torch.randn(COLUMNS, DIM, requires_grad=True)
    y = selected @ x
    y.sum().backward()
    dense = dense_of(source, target, weight).float()[rows]
    torch.testing.assert_close(y, dense @ x, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x.grad, dense.sum(0)[:, None].expand(-1, DIM), atol=1e-5, rtol=1e-5)


def test_a_matrix_of_another_size_is_refused() -> None:
    operator = SparseOperator.from_edges(*random_edges(), (ROWS, COLUMNS))
    with pytest.raises(ValueError, match=r"operator \(23, 17\) does not fit x \(23, 2\)"):
        operator @ torch.zeros(ROWS, 2)


def test_normalizations_equal_their_formulas_in_numpy() -> None:
    source, target, weight = random_edges(4)
    weight = weight.abs() + 0.1
    dense = dense_of(source, target, weight).numpy()
    rows, columns = dense.sum(1), dense.sum(0)
    with np.errstate(divide="ignore"):
        inverse_rows = np.where(rows > 0, 1 / rows, 0)
        inverse_columns = np.where(columns > 0, 1 / columns, 0)
    expected = {
        "none": dense,
        "mean": inverse_rows[:, None] * dense,
        "symmetric": np.sqrt(inverse_rows)[:, None] * dense * np.sqrt(inverse_columns),
    }
    for how, matrix in expected.items():
        scaled = normalize_edges(source, target, weight, (ROWS, COLUMNS), how)
        operator = SparseOperator.from_edges(source, target, scaled, (ROWS, COLUMNS))
        np.testing.assert_allclose((operator @ torch.eye(COLUMNS)).numpy(), matrix, atol=1e-6)
    with pytest.raises(ValueError, match="allowed: symmetric, mean, none"):
        normalize_edges(source, target, weight, (ROWS, COLUMNS), "max")


def test_one_thread_and_two_give_the_same_bits() -> None:
    random = torch.Generator().manual_seed(5)
    source, target = torch.randint(3000, (2, 60_000), generator=random)
    operator = SparseOperator.from_edges(source, target, torch.rand(60_000, generator=random), (3000, 3000))
    x = torch.randn(3000, 64, generator=random)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            leaf = x.clone().requires_grad_()
            y = operator @ leaf
            y.backward(x)
            results.append((y.detach(), leaf.grad))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_a_graph_that_moves_takes_its_operators_along(device: str) -> None:
    graph = build_graph(powerlaw(20, 15, 70, seed=0).interactions, {})
    x = torch.randn(15, 4, generator=torch.Generator().manual_seed(0))
    expected = operator(graph, ("item", "rev_interacts", "user"), "symmetric") @ x
    graph.to(device)
    moved = operator(graph, ("item", "rev_interacts", "user"), "symmetric")
    assert moved.values.device.type == device and moved.offsets.device.type == device
    torch.testing.assert_close((moved @ x.to(device)).cpu(), expected)
