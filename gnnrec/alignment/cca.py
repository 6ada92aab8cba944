"""Canonical correlation analysis in closed form (Hotelling 1936), regularised as a ridge (Vinod 1976).

Letters: n items, p and q dimensions of the two sides, k components.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CCA:
    """Directions of two spaces that vary together; on the rows of the fit every component has about unit variance."""

    means: tuple[Matrix, Matrix]  # [p], [q]
    directions: tuple[Matrix, Matrix]  # [p, k], [q, k]
    correlations: Matrix  # [k] falling; of the rows of the fit, shrunk by the regularisation

    def project(self, side: int, rows: NDArray[np.floating], power: float = 1.0) -> Matrix:
        """Rows of side 0 or 1 in the common space, [n, k]. Components weigh their correlation to a power, so that those
        which hardly agree hardly count (Gong et al. 2014, eq. 5, who take 4)."""
        return (rows - self.means[side]) @ self.directions[side] * self.correlations**power

    def correlate(self, first: NDArray[np.floating], second: NDArray[np.floating]) -> Matrix:
        """Correlation of each component over other rows than those of the fit; 0 where one does not vary. [k]"""
        x, y = (self.project(side, rows, power=0.0) for side, rows in enumerate((first, second)))
        x, y = x - x.mean(0), y - y.mean(0)
        scale = np.sqrt((x**2).sum(0) * (y**2).sum(0))
        return np.divide((x * y).sum(0), scale, out=np.zeros_like(scale), where=scale > 1e-12)


def fit_cca(
    first: NDArray[np.floating], second: NDArray[np.floating], *, components: int | None = None, l2: float = 0.1
) -> CCA:
    """CCA of the rows of [n, p] and [n, q], row r of both being the same item.

    With C + l2 * (mean variance of a dimension) * I for each side's covariance C, whitening by Cholesky factors and
    one SVD. l2 = 0 is CCA itself, which needs more rows than dimensions. At most `components` are kept.
    """
    means = (first.mean(0, dtype=np.float64), second.mean(0, dtype=np.float64))
    x, y = first - means[0], second - means[1]
    roots = [_root(side.T @ side / len(side), l2) for side in (x, y)]
    half = np.linalg.solve(roots[0], x.T @ y / len(x))  # L_x^-1 C_xy
    left, correlations, right = np.linalg.svd(np.linalg.solve(roots[1], half.T).T, full_matrices=False)
    k = min(components or len(correlations), len(correlations))
    directions = (np.linalg.solve(roots[0].T, left[:, :k]), np.linalg.solve(roots[1].T, right[:k].T))
    return CCA(means=means, directions=directions, correlations=correlations[:k].clip(0, 1))


def _root(covariance: Matrix, l2: float) -> Matrix:
    """The Cholesky factor L of a regularised covariance, L L' = C + …; a tiny ridge keeps constant dimensions apart."""
    scale = np.trace(covariance) / len(covariance)
    return np.linalg.cholesky(covariance + (max(l2, 1e-9) * scale + 1e-12) * np.eye(len(covariance)))
