"""XSimGCL against its formulas: what is noisy, what is not, and what is held together."""

import pytest
import torch
import torch.nn.functional as F

from gnnrec.datasets import powerlaw
from gnnrec.graph import INTERACTS, REV_INTERACTS, build_graph, operator
from gnnrec.losses import info_nce
from gnnrec.models.xsimgcl import XSimGCL, XSimGCLConfig

GRAPH = build_graph(powerlaw(24, 15, 80, seed=0).interactions, {})


def made(**settings: object) -> XSimGCL:
    return XSimGCL(XSimGCLConfig(dim=8, **settings), GRAPH, torch.Generator().manual_seed(0))


def layers_of(model: XSimGCL) -> list[torch.Tensor]:
    """Users after 1, 2 and 3 layers, as dense products."""
    to_user, to_item = (
        operator(GRAPH, edge, "symmetric") @ torch.eye(GRAPH[edge[0]].num_nodes) for edge in (REV_INTERACTS, INTERACTS)
    )
    user, item, found = model.user, model.item, []
    for _ in range(3):
        user, item = to_user @ item, to_item @ user
        found.append(user)
    return found


@torch.no_grad()
def test_without_noise_it_is_the_mean_of_the_layers_without_the_first() -> None:
    model = made(noise=0.0)
    expected = torch.stack(layers_of(model)).mean(0)
    torch.testing.assert_close(model(GRAPH).user, expected)
    training = model.training_pass(GRAPH, torch.Generator().manual_seed(1))
    torch.testing.assert_close(training.user, expected)
    torch.testing.assert_close(training.views[1][0], layers_of(model)[0])  # layer 1 is held against the result


@torch.no_grad()
def test_noise_has_its_length_and_keeps_the_signs() -> None:
    model, x = made(noise=0.5), torch.randn(50, 8, generator=torch.Generator().manual_seed(2))
    noise = model._noisy(x, torch.Generator().manual_seed(3)) - x
    torch.testing.assert_close(noise.norm(dim=1), torch.full((50,), 0.5))
    assert (noise * x >= 0).all()


@torch.no_grad()
def test_two_views_are_two_draws_beside_the_plain_pass() -> None:
    model = made(views="two", noise=0.3)
    found = model.training_pass(GRAPH, torch.Generator().manual_seed(4))
    torch.testing.assert_close(found.user, model(GRAPH).user)
    (first, _), (second, _) = found.views
    assert not torch.allclose(first, second) and not torch.allclose(first, found.user)


def test_info_nce_equals_a_naive_loop() -> None:
    random = torch.Generator().manual_seed(5)
    first, second = (torch.randn(6, 4, generator=random) for _ in range(2))
    losses = []
    for row in range(6):
        cosines = torch.stack([F.cosine_similarity(first[row], other, dim=0) for other in second]) / 0.3
        losses.append(-(cosines[row].exp() / cosines.exp().sum()).log())
    torch.testing.assert_close(info_nce(first, second, 0.3), torch.stack(losses).mean())


@torch.no_grad()
def test_the_contrastive_loss_counts_users_and_items_of_the_batch_once() -> None:
    model = made(contrast=0.7)
    embeddings = model.training_pass(GRAPH, torch.Generator().manual_seed(6))
    batch = torch.tensor([0, 1, 1, 5, 9])
    total = 0.0
    for side, first, second in zip(GRAPH[INTERACTS].edge_index, *embeddings.views):
        there = torch.tensor(sorted(set(side[batch].tolist())))
        total += float(info_nce(first[there], second[there], 0.2))
    assert float(model.auxiliary_loss(GRAPH, embeddings, batch)) == pytest.approx(0.7 * total, rel=1e-5)
