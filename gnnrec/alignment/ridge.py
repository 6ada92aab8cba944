"""Content mapped to collaborative embeddings by ridge regression, in closed form.

The linear case of what cold items get in Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start
recommendations". Letters: n items, p dimensions of the content, f of the embedding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    mean: Matrix  # [p] of the content
    target_mean: Matrix  # [f]
    weights: Matrix  # [p, f]

    def predict(self, content: NDArray[np.floating]) -> Matrix:
        """[n, p] -> [n, f]"""
        return (content - self.mean) @ self.weights + self.target_mean


def fit_ridge(content: NDArray[np.floating], target: NDArray[np.floating], l2: float = 1.0) -> Ridge:
    """argmin |X W - Y|^2 + l2 n s |W|^2 over centred [n, p] and [n, f], s the mean variance of a content dimension."""
    mean, target_mean = content.mean(0, dtype=np.float64), target.mean(0, dtype=np.float64)
    x, y = content - mean, target - target_mean
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += l2 * np.trace(gram) / len(gram) + 1e-9
    return Ridge(mean=mean, target_mean=target_mean, weights=np.linalg.solve(gram, x.T @ y))
