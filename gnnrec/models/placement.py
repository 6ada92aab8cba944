"""Where items that nobody has taken yet stand: foretold from their content in closed form, once all else is trained.

Kernel ridge regression from the content of the items that were taken to the rows they ended up with (the non-linear
case of Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start recommendations"). The kernel is a
sum over the modalities, w_m exp(-|x_m - y_m|^2) of rows of length one; as in banded ridge regression (Nunez-Elizalde
et al. 2019) each has a weight. Weights and penalty are those by which users' scores of an item err least while it
stands where the content of the *others* foretells it (leave-one-out, in closed form). So what a modality is worth to a
cold item is measured on items without a history, and one that foretells nothing does not blur the others. Large
catalogues are fitted through landmarks (Nystroem's method, Williams & Seeger 2000).

Letters: n items that are fitted to, L landmarks among them, M modalities, p_m dimensions of one, D of an embedding.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import item_modalities, nodes_of, num_interactions
from gnnrec.models.base import Embeddings

LEAST_ITEMS = 100  # with interactions and content; of fewer nothing can be learnt
SAMPLE = 1_000  # items on which weights and penalty are chosen
LANDMARKS, FITTED = 4_000, 50_000  # items at most, drawn at random where there are more
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-4, 5))  # tried, .01 to 100
FACTORS = (0.1, 0.3, 3.0, 10.0)  # by which the weight of one modality is moved, the others held
ROUNDS = 2  # through all modalities
BLOCK = 4_096  # items that are placed at a time
JITTER = 1e-8


class Placement(NamedTuple):
    landmarks: Tensor  # [L] indexes of items
    coefficients: Tensor  # [L, D]
    mean: Tensor  # [D] of the rows that were fitted to
    weights: Tensor  # [M], modalities in alphabetical order


def fit_placement(graph: HeteroData, embeddings: Embeddings) -> Placement | None:
    """None where fewer than LEAST_ITEMS items have both interactions and content."""
    taken = (has_content(graph) & (num_interactions(graph, "item") > 0)).nonzero().squeeze(1)
    if len(taken) < LEAST_ITEMS:
        return None
    items = taken[torch.randperm(len(taken), generator=torch.Generator().manual_seed(0))[:FITTED].to(taken.device)]
    rows = embeddings.item[items].double()
    mean = rows.mean(0)
    sample = items[:SAMPLE]
    weights, penalty = choose_weights(embeddings, sample, kernels(graph, sample, sample))
    landmarks = items[:LANDMARKS]
    across = summed(weights, kernels(graph, items, landmarks))  # [n, L]
    among = across[: len(landmarks)]
    left = across.T @ across + penalty * among
    left.diagonal().add_(JITTER * left.diagonal().mean())
    coefficients = torch.linalg.solve(left, across.T @ (rows - mean))
    return Placement(landmarks, coefficients.float(), mean.float(), torch.tensor(weights))


def placed(graph: HeteroData, embeddings: Embeddings, placement: Placement) -> Embeddings:
    """The embeddings with the rows of items that have content and no interactions in `graph` replaced."""
    cold = (has_content(graph) & (num_interactions(graph, "item") == 0)).nonzero().squeeze(1)
    if not len(cold):
        return embeddings
    item = embeddings.item.clone()
    weights = placement.weights.tolist()
    for block in cold.split(BLOCK):
        kernel = summed(weights, kernels(graph, block, placement.landmarks)).float()
        item[block] = kernel @ placement.coefficients + placement.mean
    return embeddings._replace(item=item)


def has_content(graph: HeteroData) -> Tensor:
    """Which items have any modality. [I]

    What was filled in from other items counts as missing here: it is made of who took the item.
    """
    device = num_interactions(graph, "item").device
    known = torch.zeros(graph["item"].num_nodes, dtype=torch.bool, device=device)
    for modality in item_modalities(graph):
        known |= _real_nodes(graph, modality) >= 0
    return known


def kernels(graph: HeteroData, first: Tensor, second: Tensor) -> list[Tensor]:
    """For each modality the kernel of items [a] with items [b], zero where one of them lacks it. M of [a, b]"""
    found = []
    for modality in item_modalities(graph):
        nodes, x = _real_nodes(graph, modality), graph[modality].x
        sides = [F.normalize(x[nodes[items]].double(), dim=1) for items in (first, second)]
        there = [nodes[items] >= 0 for items in (first, second)]
        squares = 2 - 2 * (sides[0] @ sides[1].T)  # |x - y|^2 of rows of length one
        found.append(torch.exp(-squares) * there[0][:, None] * there[1])
    return found


def _real_nodes(graph: HeteroData, modality: str) -> Tensor:
    nodes = nodes_of(graph, modality)
    return torch.where(graph[modality].imputed[nodes], -1, nodes)


def summed(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([weight * part for weight, part in zip(weights, parts)]).sum(0)


def choose_weights(embeddings: Embeddings, items: Tensor, parts: Sequence[Tensor]) -> tuple[list[float], float]:
    """A weight for each modality's kernel, and the penalty, by leave-one-out on the items [n].

    The measure is the squared error of the users' scores, r' (sum_u u u') r over the items' errors r. Ranking the
    users' own things instead is noisier: where several modalities do about as well, chance decides between them.
    """
    rows, users = embeddings.item[items].double(), embeddings.user.double()
    metric = users.T @ users / len(users)  # [D, D]

    def tried(weights: Sequence[float]) -> tuple[float, float]:
        errors = ((foretold - rows, penalty) for penalty, foretold in leave_one_out(summed(weights, parts), rows))
        return min((float(((error @ metric) * error).sum()), penalty) for error, penalty in errors)

    weights = [1.0] * len(parts)
    best, penalty = tried(weights)
    for _ in range(ROUNDS if len(parts) > 1 else 0):
        for position in range(len(parts)):
            start = weights[position]
            for factor in FACTORS:
                candidate = [*weights[:position], start * factor, *weights[position + 1 :]]
                error, at = tried(candidate)
                if error < best:
                    best, penalty, weights = error, at, candidate
    return weights, penalty


def leave_one_out(kernel: Tensor, rows: Tensor) -> Iterator[tuple[float, Tensor]]:
    """For each penalty the rows [n, D] that kernel ridge regression on the other n - 1 items foretells.

    y_i - (K + l I)^-1 y_i / diag((K + l I)^-1)_i, all penalties from one eigendecomposition of K [n, n]. The mean of
    the rows is taken of all n.
    """
    mean = rows.mean(0)
    centred = rows - mean
    values, vectors = torch.linalg.eigh(kernel)
    turned = vectors.T @ centred
    for penalty in PENALTIES:
        inverse = 1 / (values.clamp(min=0) + penalty)
        residual = vectors @ (inverse[:, None] * turned) / (vectors.square() @ inverse)[:, None]
        yield penalty, mean + centred - residual
