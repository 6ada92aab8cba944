"""Points on a plane for vectors in many dimensions: what is near there is near here, as far as two dimensions allow."""

import numpy as np
from numpy.typing import NDArray

from gnnrec.vectors import unit_length

FEWEST = 16  # vectors from which on neighbourhoods are worth more than main directions
DIMENSIONS = 50  # t-SNE gets at most so many; the rest is noise that costs time


def project(vectors: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """t-SNE (van der Maaten & Hinton 2008) of the unit vectors [n, d], from their main directions; [n, 2] in 0..1.

    Distances between groups far apart say little. Fewer than FEWEST vectors are drawn by their main directions alone.
    """
    from sklearn.manifold import TSNE

    points = _directions(vectors, DIMENSIONS, seed)
    if len(points) >= FEWEST:
        perplexity = min(30.0, (len(points) - 1) / 3)
        points = TSNE(perplexity=perplexity, max_iter=500, random_state=seed, n_jobs=1).fit_transform(points)
    return _fitted(points)


def main_directions(vectors: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """The two main directions (PCA) of the unit vectors [n, d]; [n, 2] in 0..1. What is drawn while t-SNE is made."""
    return _fitted(_directions(vectors, 2, seed))


def _directions(vectors: NDArray[np.float32], most: int, seed: int) -> NDArray[np.float32]:
    """[n, at most `most`]"""
    from sklearn.decomposition import PCA

    unit = unit_length(vectors)
    points: NDArray[np.float32] = PCA(min(most, *unit.shape), random_state=seed).fit_transform(unit)
    return points


def _fitted(points: NDArray[np.float32]) -> NDArray[np.float32]:
    points = np.pad(points, ((0, 0), (0, 1)))[:, :2]  # one direction alone is a line
    low, high = points.min(0), points.max(0)
    return np.asarray((points - low) / np.where(high > low, high - low, 1), dtype=np.float32)
