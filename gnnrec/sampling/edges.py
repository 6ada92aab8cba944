"""Kept edges as an operator that is right on average: the full degrees, each kept edge weighed by 1 / probability.

Letters: n local rows, m local columns, s kept entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec.propagate import SparseOperator
from gnnrec.sampling.csr import CSR
from gnnrec.sampling.importance import Visited
from gnnrec.sampling.neighbours import Sampled

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Relation:
    """One edge type as rows that listen, and the degrees by which its weights are normalized."""

    csr: CSR
    row_degree: Array  # [N] sums of the weights
    column_degree: Array  # [M]


def relation_of(csr: CSR) -> Relation:
    """With the degrees counted."""
    rows = np.repeat(np.arange(csr.num_rows), csr.degrees())
    return Relation(
        csr,
        np.bincount(rows, weights=csr.weight, minlength=csr.num_rows).astype(np.float32),
        np.bincount(csr.columns, weights=csr.weight, minlength=csr.num_columns).astype(np.float32),
    )


def both_ways(to_user: CSR, to_item: CSR) -> tuple[Relation, Relation]:
    """Unweighted edges and the same ones turned, whose degrees are each other's; no edge is read for it."""
    user, item = (csr.degrees().astype(np.float32) for csr in (to_user, to_item))
    return Relation(to_user, user, item), Relation(to_item, item, user)


@dataclass(frozen=True, slots=True)
class SampledEdges:
    """Local rows and columns; rows beyond the sampled ones hear nothing."""

    offsets: Tensor  # [n + 1]
    columns: Tensor  # [s]
    weight: Tensor  # [s] over the probability that the entry was kept
    row_degree: Tensor  # [n] in the whole graph
    column_degree: Tensor  # [m]

    def operator(self, normalize: str) -> SparseOperator:
        """As `normalize_edges` would of the whole graph; its expectation over samples is the rows of that operator."""
        rows = torch.repeat_interleave(
            torch.arange(len(self.row_degree), device=self.offsets.device), self.offsets.diff()
        )
        row, column = self.row_degree[rows], self.column_degree[self.columns.long()]
        if normalize == "symmetric":
            values = self.weight * (row * column).clamp(min=1e-12).rsqrt()
        elif normalize == "mean":
            values = self.weight / row.clamp(min=1e-12)
        elif normalize == "none":
            values = self.weight
        else:
            raise ValueError(f"sampling: unknown normalization {normalize!r}; allowed: symmetric, mean, none")
        return SparseOperator(self.offsets, self.columns, values, (len(self.row_degree), len(self.column_degree)))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "SampledEdges":
        """The same edges on another device; a graph that moves takes them along by this."""
        parts = (self.offsets, self.columns, self.weight, self.row_degree, self.column_degree)
        return SampledEdges(*(part.to(device, non_blocking=non_blocking) for part in parts))


def sampled_edges(
    csr: CSR, samples: Sequence[Sampled | Visited], columns: list[Array], row_degree: Array, column_degree: Array
) -> SampledEdges:
    """The samples of the first local rows, hop by hop, as one. `columns` are the local names of their entries [s]."""
    kept = np.concatenate([np.diff(sample.bounds) for sample in samples] or [np.zeros(0, np.int64)])
    offsets = np.full(len(row_degree) + 1, kept.sum(), dtype=np.int64)
    offsets[0] = 0
    offsets[1 : len(kept) + 1] = kept.cumsum()
    weight = [
        sample.scale() * csr.weight[sample.entries]
        if isinstance(sample, Sampled) and csr.weight is not None
        else sample.scale()
        for sample in samples
    ]
    return SampledEdges(
        torch.from_numpy(offsets),
        torch.from_numpy(np.concatenate(columns or [np.zeros(0, np.int32)])),
        torch.from_numpy(np.concatenate(weight or [np.zeros(0, np.float32)])),
        torch.from_numpy(row_degree),
        torch.from_numpy(column_degree),
    )
