"""SGL against its formulas: what the views are, and which way the contrastive loss pulls."""

import math

import pytest
import torch
import torch.nn.functional as F

from gnnrec.datasets import powerlaw
from gnnrec.graph import INTERACTS, build_graph, num_interactions
from gnnrec.losses import info_nce
from gnnrec.models.base import Embeddings
from gnnrec.models.contrast import contrast
from gnnrec.models.lightgcn import light_propagation
from gnnrec.models.sgl import SGL, SGLConfig

GRAPH = build_graph(powerlaw(24, 15, 80, seed=0).interactions, {})


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(**settings: object) -> SGL:
    return SGL(SGLConfig(dim=8, **settings), GRAPH, seeded(0))


@torch.no_grad()
@pytest.mark.parametrize("dropped", ["edge", "node"])
def test_scores_come_from_the_whole_graph_and_views_from_two_thinned_ones(dropped: str) -> None:
    model = made(dropped=dropped, dropout=0.4)
    model.batches(GRAPH, 32, seeded(1))
    found = model.training_pass(GRAPH, seeded(2))
    torch.testing.assert_close(found.user, light_propagation(GRAPH, model.user, model.item, 3).user)
    assert model.views is not None
    edges = [view[INTERACTS].edge_index for view in model.views]
    assert edges[0].shape != edges[1].shape or not torch.equal(*edges)
    for view, (user, item) in zip(model.views, found.views):
        torch.testing.assert_close(user, light_propagation(view, model.user, model.item, 3).user)
        alone = num_interactions(view, "item") == 0
        torch.testing.assert_close(item[alone], model.item[alone] / 4)  # nothing reaches it: the mean with three zeros


@torch.no_grad()
def test_views_are_those_of_the_epoch_and_of_its_seed() -> None:
    model = made()
    model.batches(GRAPH, 32, seeded(1))
    first, second = (model.training_pass(GRAPH, seeded(seed)).views for seed in (2, 3))
    assert torch.equal(first[0][0], second[0][0])  # the steps of an epoch share them
    model.batches(GRAPH, 32, seeded(4))
    assert not torch.equal(model.training_pass(GRAPH, seeded(2)).views[0][0], first[0][0])
    model.batches(GRAPH, 32, seeded(1))
    assert torch.equal(model.training_pass(GRAPH, seeded(9)).views[0][0], first[0][0])


def test_the_gradient_pulls_a_thing_to_itself_and_away_from_the_other() -> None:
    """Two unit rows at right angles, temperature 1. By hand: for row 0 the softmax over cosines (1, 0) is
    p = e / (1 + e); the gradient by its own cosine is (p - 1) / 2, by the other's (1 - p) / 2, of which only what is
    at right angles to the row turns it: it turns away from the other, (1 - p) / 2 along the second axis."""
    first, second = torch.eye(2, requires_grad=True), torch.eye(2)
    info_nce(first, second, 1.0).backward()
    away = (1 - math.e / (1 + math.e)) / 2
    torch.testing.assert_close(first.grad, torch.tensor([[0.0, away], [away, 0.0]]))


def test_a_step_along_the_loss_brings_positive_pairs_together() -> None:
    random = seeded(5)
    views = [torch.randn(size, 6, generator=random, requires_grad=True) for size in (24, 15, 24, 15)]
    embeddings = Embeddings(views[0], views[1], views=((views[0], views[1]), (views[2], views[3])))
    batch = torch.tensor([0, 1, 2, 3])
    loss = contrast(GRAPH, embeddings, batch, 0.5)
    user, item = (side[batch].unique() for side in GRAPH[INTERACTS].edge_index)
    by_hand = sum(
        info_nce(one[there], two[there], 0.5) for there, one, two in ((user, *views[::2]), (item, *views[1::2]))
    )
    torch.testing.assert_close(loss, by_hand)
    loss.backward()
    there = item
    before = F.cosine_similarity(views[1][there], views[3][there]).mean()
    moved = [view - 0.5 * view.grad for view in (views[1], views[3])]
    assert F.cosine_similarity(moved[0][there], moved[1][there]).mean() > before + 0.01
    gone = torch.tensor([row for row in range(15) if row not in there.tolist()])
    assert not views[1].grad[gone].any()  # who is not in the batch is not moved


def test_the_loss_has_its_weight() -> None:
    with torch.no_grad():
        embeddings = made().training_pass(GRAPH, seeded(6))
    batch = torch.tensor([0, 1, 5, 9])
    light, heavy = (float(made(contrast=weight).auxiliary_loss(GRAPH, embeddings, batch)) for weight in (0.1, 0.3))
    assert heavy == pytest.approx(3 * light, rel=1e-5) and light > 0
