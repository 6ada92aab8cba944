"""Rows of numbers. Letters: n rows, d dimensions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unit_length(rows: NDArray[Any]) -> NDArray[Any]:
    """Each row at length one, in its own precision; rows of zeros stay. [n, d]"""
    scaled: NDArray[Any] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return scaled
