"""Slow waves of the user-item graph beside the trained embeddings, appended as far as validation wants them.

The leading singular vectors of the normalized log are the signals over the items that change least along its edges. A
history filtered by them is a closed form that holds many more directions than the embeddings have dimensions; where a
catalogue is large and nothing but the log is known, that is worth much (NOTES). The low-pass of GF-CF (Shen et al.
2021, "How powerful is graph convolution for recommendation?", eq. 12): score(r) = r D^-a V S V' D^a. Deviations: the
singular values S weigh the waves, which is half way from its ideal low-pass V V' to its linear filter V S^2 V'; and
degrees of items are taken to the power of POWER instead of 1/2, which leaves popular items more of their weight.

Letters: U users, I items, f waves, d dimensions.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array, diags_array
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, REV_INTERACTS, interactions_of, operator
from gnnrec.models.appended import Part, best_beside
from gnnrec.models.base import Embeddings
from gnnrec.models.factors import MAX_INTERACTIONS
from gnnrec.models.layerwise import Rows
from gnnrec.ranking import Scorer

SIZES = (64, 256, 1024)  # numbers of waves that are tried
WEIGHTS = (0.25, 0.5, 1.0)  # tried, after none; the scores of the embeddings weigh 1
POWER = 0.35
MOST_NUMBERS = 2**27  # in the rows of all users and items: half a gigabyte, five times that while waves are chosen
LEAST_VALUE = 1e-4  # of the largest singular value; what is below is rounding
ROUNDS, SEED = 4, 0  # of the randomized SVD


class Spectrum(NamedTuple):
    weight: Tensor  # [1]
    vectors: Tensor  # V [I, f]
    values: Tensor  # S [f], falling
    degrees: Tensor  # D^a [I]


def fit_spectrum(graph: HeteroData) -> Spectrum | None:
    """The largest of SIZES that there are, in eights, of weight 1; None for logs of more than MAX_INTERACTIONS or where
    it would be more than MOST_NUMBERS, and where there are none."""
    log, device = interactions_of(graph).matrix(), graph[INTERACTS].edge_index.device
    size = in_eights(min(SIZES[-1], *(side - 1 for side in log.shape)))
    if not size or not log.nnz or log.nnz > MAX_INTERACTIONS or sum(log.shape) * size > MOST_NUMBERS:
        return None
    vectors, values, degrees = waves(log, size)
    found = Spectrum(torch.ones(1), vectors, values, degrees)
    found = first_waves(found, in_eights(int((values > LEAST_VALUE * values[0]).sum())))
    return Spectrum(*(part.to(device) for part in found)) if len(found.values) else None


def in_eights(size: int) -> int:
    """Compressed indexes cut rows into four or eight pieces."""
    return size - size % 8


def waves(log: csr_array, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """V [I, size], S [size] and D^a [I] of a log of ones [U, I]: randomized SVD (Halko et al. 2011)."""
    from sklearn.utils.extmath import randomized_svd

    users, items = (np.maximum(log.sum(axis), 1) for axis in (1, 0))
    degrees = (items**POWER).astype(np.float32)
    scaled = diags_array(users**-0.5) @ log @ diags_array(1 / degrees)
    _, values, vectors = randomized_svd(
        scaled.astype(np.float32).tocsr(), size, n_iter=ROUNDS, power_iteration_normalizer="QR", random_state=SEED
    )
    return torch.from_numpy(vectors.T.copy()), torch.from_numpy(values.copy()), torch.from_numpy(degrees)


def choose_spectrum(
    graph: HeteroData, embeddings: Embeddings, found: Spectrum | None, measure: Callable[[Scorer], float]
) -> Spectrum | None:
    """As many waves as are best alone by `measure` (on validation), with the weight that is best beside the
    embeddings. None where nothing is better than these."""
    if found is None:
        return None
    tried = [first_waves(found, size) for size in sorted({min(size, len(found.values)) for size in SIZES})]
    alone = (spectrum_part(one, len(embeddings.item)).embeddings(graph) for one in tried)
    chosen = best_beside(embeddings, alone, WEIGHTS, measure)
    return None if chosen is None else tried[chosen[0]]._replace(weight=found.weight * chosen[1])


def spectrum_like(found: Spectrum, other: Spectrum) -> Spectrum:
    """As many of the waves as `other`, the choice for another log, has, with its weight."""
    return first_waves(found, len(other.values))._replace(weight=other.weight)


def first_waves(spectrum: Spectrum, size: int) -> Spectrum:
    return spectrum._replace(vectors=spectrum.vectors[:, :size].contiguous(), values=spectrum.values[:size])


def spectrum_part(spectrum: Spectrum, num_items: int) -> Part:
    """The waves as what comes beside embeddings, users by their histories. Rows of items have the mean length `weight`,
    so that what is near an item is told by both sides as much as scores are. Items that joined later, up to
    `num_items`, take no part in them."""
    weight, vectors, values, degrees = spectrum
    reads, writes = vectors * values / degrees[:, None], vectors * degrees[:, None]  # [I, f] each
    writes = writes * (weight / writes.norm(dim=1).mean().clamp(min=1e-9))
    missing = (0, 0, 0, num_items - len(vectors))
    reads = F.pad(reads, missing)

    def users(graph: HeteroData) -> Rows:
        history = operator(graph, REV_INTERACTS, "none")
        return lambda rows: history.block(rows) @ reads

    return Part(F.pad(writes, missing), users, float(weight))
