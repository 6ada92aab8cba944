"""The one hot kernel: Y = A X for a fixed sparse matrix A and a dense X, with its backward.

On CPU the product is `torch.nn.functional.embedding_bag` over the rows of a CSR matrix with int32 columns: FBGEMM's
JIT kernel inside torch, several times faster than torch.sparse and MKL and bit-identical for any number of threads.
Its own backward would scatter; since A is fixed, the gradient with respect to X is the same kernel on the transposed
matrix. On CUDA it is torch's CSR product (cuSPARSE), forward and backward.

Letters: N rows, M columns, E stored entries, d dimensions.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class SparseOperator:
    """A fixed sparse matrix A [N, M]; `operator @ x` is differentiable in x [M, d]."""

    def __init__(self, offsets: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> None:
        """CSR parts: `offsets` [N + 1], `columns` [E], `values` [E] float32. Use `from_edges` where there are edges."""
        index_type = torch.int32 if max(len(columns), *shape) < 2**31 else torch.int64
        self.offsets = offsets.to(index_type)
        self.columns = columns.to(index_type)
        self.values = values
        self.shape = shape
        self._transposed: SparseOperator | None = None
        self._sparse: Tensor | None = None  # torch's own CSR tensor, CUDA only

    @classmethod
    def from_edges(cls, source: Tensor, target: Tensor, weight: Tensor, shape: tuple[int, int]) -> "SparseOperator":
        """Messages flow source -> target: A[target, source] = weight; repeated edges add up. `shape` is (N, M)."""
        order = torch.argsort(target.long() * shape[1] + source.long(), stable=True)
        offsets = torch.zeros(shape[0] + 1, dtype=torch.int64, device=target.device)
        offsets[1:] = torch.bincount(target.long(), minlength=shape[0]).cumsum(0)
        return cls(offsets, source[order], weight[order].float().contiguous(), shape)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "SparseOperator":
        """The same matrix on another device; a graph that moves takes its operators along by this."""
        offsets, columns, values = (
            part.to(device, non_blocking=non_blocking) for part in (self.offsets, self.columns, self.values)
        )
        return SparseOperator(offsets, columns, values, self.shape)

    @property
    def transposed(self) -> "SparseOperator":
        """A^T [M, N], made once."""
        if self._transposed is None:
            counts = (self.offsets[1:] - self.offsets[:-1]).long()
            rows = torch.repeat_interleave(torch.arange(self.shape[0], device=counts.device), counts)
            self._transposed = SparseOperator.from_edges(
                rows, self.columns, self.values, (self.shape[1], self.shape[0])
            )
            self._transposed._transposed = self
        return self._transposed

    def select_rows(self, rows: Tensor) -> "SparseOperator":
        """The given rows, in that order: [B] -> A[rows] of shape [B, M]."""
        rows = rows.long()
        starts, counts = self.offsets[rows].long(), (self.offsets[rows + 1] - self.offsets[rows]).long()
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=rows.device)
        offsets[1:] = counts.cumsum(0)
        entries = torch.arange(int(offsets[-1]), device=rows.device)
        entries += torch.repeat_interleave(starts - offsets[:-1], counts)
        return SparseOperator(offsets, self.columns[entries], self.values[entries], (len(rows), self.shape[1]))

    def block(self, rows: slice) -> "SparseOperator":
        """Consecutive rows: A[first:last]. Values and columns are those of the whole matrix, not copied."""
        first, last, _ = rows.indices(self.shape[0])
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        offsets = self.offsets[first : last + 1] - begin
        return SparseOperator(offsets, self.columns[begin:end], self.values[begin:end], (last - first, self.shape[1]))

    def __matmul__(self, x: Tensor) -> Tensor:
        if x.shape[0] != self.shape[1]:
            raise ValueError(f"propagate: operator {self.shape} does not fit x {tuple(x.shape)}")
        product: Tensor = _Propagate.apply(x, self)
        return product

    def _multiply(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            if self._sparse is None:
                self._sparse = torch.sparse_csr_tensor(self.offsets, self.columns, self.values, self.shape)
            return self._sparse @ x
        if not len(self.columns) or not x.shape[1]:  # the kernels of some processors refuse a table without columns
            return x.new_zeros(self.shape[0], x.shape[1])
        return F.embedding_bag(
            self.columns,
            x.contiguous(),
            self.offsets,
            mode="sum",
            per_sample_weights=self.values.to(x.dtype),
            include_last_offset=True,
        )


class _Propagate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, operator: SparseOperator) -> Tensor:
        ctx.operator = operator
        return operator._multiply(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.operator.transposed._multiply(gradients[0]), None


def normalize_edges(source: Tensor, target: Tensor, weight: Tensor, shape: tuple[int, int], how: str) -> Tensor:
    """Edge weights [E] of Â. "symmetric": D_t^-1/2 A D_s^-1/2 (Kipf & Welling 2017); "mean": D_t^-1 A; "none": A.

    Degrees are sums of weights; a node without edges receives nothing and sends nothing.
    """
    if how == "none":
        return weight
    degree_target = torch.zeros(shape[0], device=weight.device).index_add_(0, target.long(), weight)
    if how != "symmetric":
        return edge_weights(weight, degree_target[target.long()], weight, how)
    degree_source = torch.zeros(shape[1], device=weight.device).index_add_(0, source.long(), weight)
    return edge_weights(weight, degree_target[target.long()], degree_source[source.long()], how)


def edge_weights(weight: Tensor, degree_target: Tensor, degree_source: Tensor, how: str) -> Tensor:
    """The same of the degrees at both ends of each edge [E] each; "mean" looks at the target's alone."""
    if how == "none":
        return weight
    if how == "mean":
        return weight / degree_target.clamp(min=1e-12)
    if how == "symmetric":
        return weight / (degree_target * degree_source).clamp(min=1e-12).sqrt()
    raise ValueError(f"propagate: unknown normalization {how!r}; allowed: symmetric, mean, none")
