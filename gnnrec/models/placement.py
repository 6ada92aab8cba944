"""Where items that nobody has taken yet stand: foretold from their content in closed form, once all else is trained.

Kernel ridge regression from the content of the items that were taken to the rows they ended up with (the non-linear
case of Gantner et al. 2010, "Learning attribute-to-feature mappings for cold-start recommendations"). The kernel is a
sum over the modalities, w_m exp(-|x_m - y_m|^2) of rows of length one; as in banded ridge regression (Nunez-Elizalde
et al. 2019) each has a weight. Weights and penalty are those by which users' scores of an item err least while it
stands where the content of the *others* foretells it (leave-one-out, in closed form). So what a modality is worth to a
cold item is measured on items without a history, and one that foretells nothing does not blur the others. The weights
are chosen on factors of the log alone where these are given: the rows of a model that reads content hold some of it
already, so content would foretell them better than it foretells what users take. Every set of
modalities that an item may have has a regression of its own (pattern submodels, Fletcher Mercaldo & Blume 2020), fitted
to all items that have any of them: where one is missing, another has to say what it would have said. Large catalogues
are fitted through landmarks (Nystroem's method, Williams & Seeger 2000).

Letters: I items, n that are fitted to, L landmarks among them, M modalities, P sets of them, D of an embedding.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
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
FIT_BLOCK = 8_192  # items that are fitted to at a time; not fewer than LANDMARKS
BLOCK_NUMBERS = 2**25  # of users' rows in double precision at a time
JITTER = 1e-8
ALL_SETS = 3  # up to so many modalities each set of them is fitted; of more only all together and each alone


class Placement(NamedTuple):
    """The regressions of P sets of modalities, the larger sets first."""

    weights: Tensor  # [P, M], modalities in alphabetical order; 0 for those that are not in the set
    means: Tensor  # [P, D] of the rows that were fitted to
    offsets: Tensor  # [P + 1] where the landmarks of each set begin
    landmarks: Tensor  # [sum of L] indexes of items
    coefficients: Tensor  # [sum of L, D]


def fit_placement(graph: HeteroData, embeddings: Embeddings, judged_by: Embeddings | None = None) -> Placement | None:
    """`judged_by`: users and items without any content, on which the weights are chosen; by default `embeddings`.

    None where fewer than LEAST_ITEMS items have both interactions and some modality.
    """
    there = contents(graph)
    taken = num_interactions(graph, "item") > 0
    fitted = []
    for chosen in sets_of(there.shape[1]):
        items = (taken & there[:, list(chosen)].any(1)).nonzero().squeeze(1)
        if len(items) >= LEAST_ITEMS:
            fitted.append(_fit(graph, embeddings, judged_by or embeddings, items, chosen))
    if not fitted:
        return None
    weights, means, landmarks, coefficients = zip(*fitted)
    offsets = torch.tensor([0, *(len(part) for part in landmarks)]).cumsum(0)
    return Placement(torch.stack(weights), torch.stack(means), offsets, torch.cat(landmarks), torch.cat(coefficients))


def placed(graph: HeteroData, embeddings: Embeddings, placement: Placement) -> Embeddings:
    """The embeddings with the rows of items that have content and no interactions in `graph` replaced.

    An item stands where the largest of the fitted sets whose modalities it has puts it.
    """
    if not (num_interactions(graph, "item") == 0).any():
        return embeddings
    return embeddings._replace(item=place(graph, embeddings.item.clone(), placement))


def place(graph: HeteroData, item: Tensor, placement: Placement) -> Tensor:
    """The same of the items' rows [I, D], in place."""
    left, there = num_interactions(graph, "item") == 0, contents(graph)
    for position, weights in enumerate(placement.weights):
        mine = left & there[:, weights > 0].all(1)
        if not mine.any():  # there may be no node of these modalities at all
            continue
        left = left & ~mine
        part = slice(*placement.offsets[position : position + 2].tolist())
        for block in mine.nonzero().squeeze(1).split(BLOCK):
            near = mixed(graph, weights, block, placement.landmarks[part]).float()
            item[block] = near @ placement.coefficients[part] + placement.means[position]
    return item


def sets_of(num_modalities: int) -> list[tuple[int, ...]]:
    """The sets of modalities that get a regression of their own, the larger first: all sets where they are few."""
    names = range(num_modalities)
    sizes = names if num_modalities <= ALL_SETS else (0, num_modalities - 1)
    return [chosen for size in reversed(sizes) for chosen in combinations(names, size + 1)]


def _fit(
    graph: HeteroData, embeddings: Embeddings, judged_by: Embeddings, items: Tensor, chosen: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights [M], mean [D], landmarks [L], coefficients [L, D] of a set of modalities, one of which each item has."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))[:FITTED]
    items = items[order.to(items.device)]
    rows = embeddings.item[items].double()
    mean = rows.mean(0)
    sample, landmarks = items[:SAMPLE], items[:LANDMARKS]
    modalities = item_modalities(graph)
    parts = [kernel(graph, modalities[place], sample, sample) for place in chosen]
    found = choose_weights(judged_by, sample, parts)
    _, penalty = leave_one_out_error(embeddings, sample, weighted(parts, found))
    weights = torch.zeros(len(modalities), device=rows.device)
    weights[list(chosen)] = torch.tensor(found, device=rows.device)
    if len(items) == len(landmarks):  # plainly, which what follows approximates
        left, right = mixed(graph, weights, items, items), rows - mean
        left.diagonal().add_(penalty)
    else:
        near = mixed(graph, weights, items[:FIT_BLOCK], landmarks)  # [n, L], a block at a time
        left, right = near.T @ near, near.T @ (rows[:FIT_BLOCK] - mean)
        for first in range(FIT_BLOCK, len(items), FIT_BLOCK):
            block = mixed(graph, weights, items[first : first + FIT_BLOCK], landmarks)
            left += block.T @ block
            right += block.T @ (rows[first : first + FIT_BLOCK] - mean)
        left += penalty * near[: len(landmarks)]  # landmarks are the first of the items
    left.diagonal().add_(JITTER * left.diagonal().mean())
    coefficients = torch.linalg.solve(left, right)
    return weights, mean.float(), landmarks, coefficients.float()


def contents(graph: HeteroData) -> Tensor:
    """Which items have which modality. [I, M]

    What was filled in from other items counts as missing here: it is made of who took the item.
    """
    there = [_real_nodes(graph, modality) >= 0 for modality in item_modalities(graph)]
    return torch.stack(there, dim=1) if there else torch.zeros(graph["item"].num_nodes, 0, dtype=torch.bool)


def kernel(graph: HeteroData, modality: str, first: Tensor, second: Tensor) -> Tensor:
    """Of items [a] with items [b], zero where one of them lacks the modality. [a, b]"""
    nodes, x = _real_nodes(graph, modality), graph[modality].x
    sides = [F.normalize(x[nodes[items]].double(), dim=1) for items in (first, second)]
    there = [(nodes[items] >= 0).double() for items in (first, second)]
    near = torch.exp(2 * (sides[0] @ sides[1].T) - 2)  # |x - y|^2 = 2 - 2 x'y of rows of length one
    return near * there[0][:, None] * there[1]


def mixed(graph: HeteroData, weights: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The weighted sum of the kernels of the modalities whose weight [M] is not 0. [a, b]"""
    chosen = zip(weights.tolist(), item_modalities(graph))
    parts = [weight * kernel(graph, modality, first, second) for weight, modality in chosen if weight]
    return torch.stack(parts).sum(0)


def _real_nodes(graph: HeteroData, modality: str) -> Tensor:
    """Index of each item's node of a modality, -1 where there is none or it was filled in. [I]"""
    nodes = nodes_of(graph, modality)
    unreal = F.pad(graph[modality].imputed, (0, 1), value=True)  # the last for -1, as there may be no node at all
    return torch.where(unreal[nodes], -1, nodes)


def choose_weights(embeddings: Embeddings, items: Tensor, parts: Sequence[Tensor]) -> list[float]:
    """A weight for each modality's kernel, by leave-one-out on the items [n]."""
    weights = [1.0] * len(parts)
    if len(parts) == 1:
        return weights
    best, _ = leave_one_out_error(embeddings, items, weighted(parts, weights))
    for _ in range(ROUNDS):
        for position in range(len(parts)):
            start = weights[position]
            for factor in FACTORS:
                candidate = [*weights[:position], start * factor, *weights[position + 1 :]]
                error, _ = leave_one_out_error(embeddings, items, weighted(parts, candidate))
                if error < best:
                    best, weights = error, candidate
    return weights


def weighted(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return torch.stack([weight * part for weight, part in zip(weights, parts)]).sum(0)


def leave_one_out_error(embeddings: Embeddings, items: Tensor, kernel: Tensor) -> tuple[float, float]:
    """The least error of the items [n] over the penalties, and the penalty.

    It is the squared error of the users' scores, r' (sum_u u u') r over the items' errors r. Ranking the users' own
    things instead is noisier: where several modalities do about as well, chance decides between them.
    """
    rows = embeddings.item[items].double()
    blocks = (users.double() for users in embeddings.user.split(max(BLOCK_NUMBERS // rows.shape[1], 1)))
    metric = torch.stack([users.T @ users for users in blocks]).sum(0) / len(embeddings.user)  # [D, D]
    errors = ((foretold - rows, penalty) for penalty, foretold in leave_one_out(kernel, rows))
    return min((float(((error @ metric) * error).sum()), penalty) for error, penalty in errors)


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
