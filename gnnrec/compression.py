"""Embeddings in fewer bytes: fp16, int8 with a scale a row, fewer dimensions. Product quantization is in `export.py`.

Letters: n rows (users or items), d dimensions, D those that are kept.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.scratch import empty, row_blocks

BLOCK_ROWS = 65_536
PRECISIONS = ("fp32", "fp16", "int8")

Vectors = NDArray[np.float32]


def check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise UserError(f"export --precision: found {precision!r}; allowed: {', '.join(PRECISIONS)}")


def to_int8(vectors: Vectors) -> tuple[NDArray[np.int8], Vectors]:
    """[n, d] -> whole numbers from -127 to 127 and a scale a row [n]; no value is off by more than half a scale."""
    scales = (np.abs(vectors).max(axis=1, initial=0) / 127).astype(np.float32)
    steps = vectors / np.where(scales > 0, scales, 1)[:, None]
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scales


def from_int8(rows: NDArray[np.int8], scales: Vectors) -> Vectors:
    return rows.astype(np.float32) * scales[:, None].astype(np.float32)


def to_fp16(vectors: Vectors) -> NDArray[np.float16]:
    largest = float(np.finfo(np.float16).max)
    if vectors.size and np.abs(vectors).max() > largest:
        raise UserError(f"export --precision fp16: found a number above {largest:g}; allowed: fp32, int8")
    return vectors.astype(np.float16)


def truncate(user: Vectors, item: Vectors, dim: int) -> tuple[Vectors, Vectors]:
    """The first D dimensions after a rotation that puts first what the items vary in most (their uncentred PCA).

    Cutting alone, as for embeddings trained with a Matryoshka loss, needs dimensions in the order of their weight,
    which those of a graph have not. Users are turned by the same rotation, so all dimensions keep each inner product.
    """
    if not 1 <= dim <= item.shape[1]:
        raise UserError(f"export --dim: found {dim}; allowed: 1 to {item.shape[1]}")
    gram = np.zeros((item.shape[1], item.shape[1]))
    for rows in row_blocks(len(item), BLOCK_ROWS):
        wide = item[rows].astype(np.float64)
        gram += wide.T @ wide
    _, axes = np.linalg.eigh(gram)  # ascending
    kept = axes[:, ::-1][:, :dim]  # [d, D]
    return turned(user, kept), turned(item, kept)


def turned(vectors: Vectors, kept: NDArray[np.float64]) -> Vectors:
    """[n, d] @ [d, D], in a scratch file where it is large."""
    made: Vectors = empty((len(vectors), kept.shape[1]))
    for rows in row_blocks(len(vectors), BLOCK_ROWS):
        made[rows] = vectors[rows].astype(np.float64) @ kept
    return made
