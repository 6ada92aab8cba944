"""Where items that nobody has taken yet stand: foretold from their content in closed form, once all else is trained.

Ridge regression from the content of the items that were taken to the rows they ended up with (Gantner et al. 2010,
"Learning attribute-to-feature mappings for cold-start recommendations"), with a weight for each modality as in banded
ridge regression (Nunez-Elizalde et al. 2019). Both weights and penalty are those by which users' scores of an item err
least while it stands where the content of the *others* foretells it (leave-one-out, in closed form). So what a modality
is worth to a cold item is measured on items without a history, and one that foretells nothing does not blur the others.

Letters: I items, n items that are fitted to, p dimensions of all modalities side by side, D of an embedding.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, item_modalities, num_interactions, owners
from gnnrec.models.base import Embeddings

LEAST_ITEMS = 100  # with interactions and content; of fewer nothing can be learnt
SAMPLE_ITEMS = 1_000  # on which weights and penalty are chosen
PENALTIES = tuple(10.0 ** (step / 2) for step in range(-4, 7))  # tried, .01 to 1000
FACTORS = (0.1, 0.3, 3.0, 10.0)  # by which the weight of one modality is moved, the others held
ROUNDS = 2  # through all modalities


class Placement(NamedTuple):
    weights: Tensor  # [p, D]
    mean: Tensor  # [D] of the rows that were fitted to


def fit_placement(graph: HeteroData, embeddings: Embeddings) -> Placement | None:
    """None where fewer than LEAST_ITEMS items have both interactions and content."""
    blocks, known = content_blocks(graph)
    taken = known & (num_interactions(graph, "item") > 0)
    if int(taken.sum()) < LEAST_ITEMS:
        return None
    place = taken.nonzero().squeeze(1)
    rows = embeddings.item[place].double()
    mean = rows.mean(0)
    scales, penalty = choose_scales(embeddings, blocks, place)
    x = torch.cat([block[place].double() * scale for block, scale in zip(blocks, scales)], dim=1)  # [n, p]
    gram = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(gram, x.T @ (rows - mean))
    widths = torch.tensor([scale for block, scale in zip(blocks, scales) for _ in range(block.shape[1])])
    return Placement((weights * widths[:, None].to(weights)).float(), mean.float())


def placed(graph: HeteroData, embeddings: Embeddings, placement: Placement) -> Embeddings:
    """The embeddings with the rows of items that have content and no interactions in `graph` replaced."""
    blocks, known = content_blocks(graph)
    cold = known & (num_interactions(graph, "item") == 0)
    if not cold.any():
        return embeddings
    rows = torch.cat([block[cold] for block in blocks], dim=1) @ placement.weights + placement.mean
    item = embeddings.item.clone()
    item[cold] = rows
    return embeddings._replace(item=item)


def content_blocks(graph: HeteroData) -> tuple[list[Tensor], Tensor]:
    """Features [I, p_m] of each modality, of mean length about one, zero where missing; which items have any [I].

    What was filled in from other items counts as missing: it is made of who took the item.
    """
    num_items = graph["item"].num_nodes
    blocks = []
    known = torch.zeros(num_items, dtype=torch.bool, device=graph[INTERACTS].edge_index.device)
    for modality in item_modalities(graph):
        nodes, index = graph[modality], owners(graph, modality)
        real = ~nodes.imputed
        block = nodes.x.new_zeros(num_items, nodes.x.shape[1])
        blocks.append(block.index_copy(0, index[real], nodes.x[real] / nodes.x.shape[1] ** 0.5))
        known[index[real]] = True
    return blocks, known


def choose_scales(embeddings: Embeddings, blocks: Sequence[Tensor], place: Tensor) -> tuple[list[float], float]:
    """A scale for each block, and the penalty, by leave-one-out on a sample of the items `place` that were taken.

    The measure is the mean squared error of the users' scores, r' (sum_u u u') r over the items' errors r. Ranking the
    users' own things instead is noisier: where several modalities do about as well, chance decides between them.
    """
    generator = torch.Generator().manual_seed(0)
    sample = place[torch.randperm(len(place), generator=generator)[:SAMPLE_ITEMS]]
    rows, users = embeddings.item[sample].double().cpu(), embeddings.user.double().cpu()
    metric = users.T @ users / len(users)  # [D, D]
    products = [block @ block.T for block in (block[sample].double().cpu() for block in blocks)]

    def tried(squares: Sequence[float]) -> tuple[float, float]:
        kernel = torch.stack([square * product for square, product in zip(squares, products)]).sum(0)
        errors = ((foretold - rows, penalty) for penalty, foretold in leave_one_out(kernel, rows))
        return min((float(((error @ metric) * error).sum()), penalty) for error, penalty in errors)

    squares = [1.0] * len(blocks)
    best, penalty = tried(squares)
    for _ in range(ROUNDS if len(blocks) > 1 else 0):
        for position in range(len(blocks)):
            start = squares[position]
            for factor in FACTORS:
                candidate = [*squares[:position], start * factor, *squares[position + 1 :]]
                error, at = tried(candidate)
                if error < best:
                    best, penalty, squares = error, at, candidate
    return [square**0.5 for square in squares], penalty


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
