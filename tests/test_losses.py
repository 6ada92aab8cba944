"""Losses against values worked out by hand, torch's own, and the rules that all of them keep."""

import math

import pytest
import torch
import torch.nn.functional as F

from gnnrec import losses
from gnnrec.losses import LOSSES, catalogue_softmax, sampled_softmax, shared_softmax

# One positive of score 1 against negatives of scores 0 and 2, and one of score 0 against 0 and 0.
POSITIVE = torch.tensor([1.0, 0.0])
NEGATIVE = torch.tensor([[0.0, 2.0], [0.0, 0.0]])


def softplus(x: float) -> float:
    return math.log(1 + math.exp(x))


EXPECTED = {
    "softmax": (-math.log(math.e / (math.e + 1 + math.e**2)) + math.log(3)) / 2,
    "bpr": (softplus(-1) + softplus(1) + 2 * math.log(2)) / 4,
    "bce": (softplus(-1) + math.log(2)) / 2 + (softplus(2) + 3 * math.log(2)) / 4,
    "hinge": (2 + 1) / 2,
}


@pytest.mark.parametrize("name", LOSSES)
def test_closed_form_value(name: str) -> None:
    assert LOSSES[name](POSITIVE, NEGATIVE).item() == pytest.approx(EXPECTED[name], rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_rises_with_the_negatives_and_falls_with_the_positive(name: str) -> None:
    positive, negative = POSITIVE.clone().requires_grad_(), NEGATIVE.clone().requires_grad_()
    LOSSES[name](positive, negative).backward()
    assert positive.grad is not None and negative.grad is not None
    assert (positive.grad < 0).all()
    assert (negative.grad >= 0).all() and negative.grad.sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_negative_of_minus_infinity_is_absent(name: str) -> None:
    gradients, values = [], []
    for negative in (torch.tensor([[0.3, -0.2]]), torch.tensor([[0.3, -torch.inf, -0.2, -torch.inf]])):
        positive, negative = torch.tensor([0.5], requires_grad=True), negative.requires_grad_()
        value = LOSSES[name](positive, negative)
        value.backward()
        values.append(value.item())
        assert positive.grad is not None and negative.grad is not None
        assert positive.grad.isfinite().all() and negative.grad.isfinite().all()
        gradients.append((float(positive.grad), negative.grad[torch.isfinite(negative)].tolist()))
        assert not negative.grad[torch.isinf(negative)].any()
    assert values[0] == pytest.approx(values[1])
    assert gradients[0][0] == pytest.approx(gradients[1][0])
    assert gradients[0][1] == pytest.approx(gradients[1][1])


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_whose_negatives_are_all_absent_spoils_nothing(name: str) -> None:
    positive = torch.tensor([0.5, 0.5], requires_grad=True)
    negative = torch.tensor([[0.3, -0.2], [-torch.inf, -torch.inf]], requires_grad=True)
    value = LOSSES[name](positive, negative)
    value.backward()
    assert positive.grad is not None and negative.grad is not None
    assert value.isfinite() and positive.grad.isfinite().all() and negative.grad.isfinite().all()


def random_problem(kind: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    query = F.normalize(torch.randn(150, 12, generator=random, dtype=kind), dim=1) / 0.2
    items = F.normalize(torch.randn(400, 12, generator=random, dtype=kind), dim=1)
    return query.requires_grad_(), items.requires_grad_(), torch.randint(400, (150,), generator=random)


def results(loss: torch.Tensor, *leaves: torch.Tensor) -> list[torch.Tensor]:
    return [loss.detach(), *torch.autograd.grad(3.0 * loss, leaves)]


def test_the_catalogue_softmax_is_the_softmax_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    query, items, target = random_problem(torch.float64)
    scores = query @ items.T
    positive = scores.gather(1, target[:, None]).squeeze(1)
    others = scores.scatter(1, target[:, None], -torch.inf)
    for block_scores in (losses.BLOCK_SCORES, 400 * 70):  # one block, and blocks of 70, 70 and 10 queries
        monkeypatch.setattr(losses, "BLOCK_SCORES", block_scores)
        found = results(catalogue_softmax(query, items, target), query, items)
        for other in (F.cross_entropy(scores, target), sampled_softmax(positive, others)):
            expected = torch.autograd.grad(3.0 * other, (query, items), retain_graph=True)
            for left, right in zip(found, (other.detach(), *expected)):
                torch.testing.assert_close(left, right)


def test_bfloat16_moves_scores_by_no_more_than_it_says() -> None:
    query, items, target = random_problem(torch.float32)
    items = torch.cat([items[:250], query * 0.2]).detach().requires_grad_()  # some cosines of 1, the largest scores
    moved = (query.bfloat16() @ items.bfloat16().T).float() - query @ items.T
    assert moved.abs().max() < 0.03
    exact = results(catalogue_softmax(query, items, target), query, items)
    rounded = results(catalogue_softmax(query, items, target, low_precision=True), query, items)
    assert (exact[0] - rounded[0]).abs() < 0.03
    for left, right in zip(exact[1:], rounded[1:]):
        assert F.cosine_similarity(left.flatten(), right.flatten(), dim=0) > 0.9999


def test_the_catalogue_softmax_takes_scores_that_would_overflow() -> None:
    query = torch.tensor([[1000.0], [-1000.0]], requires_grad=True)
    items = torch.tensor([[1.0], [0.0]], requires_grad=True)
    loss = catalogue_softmax(query, items, torch.tensor([0, 0]))
    loss.backward()
    assert loss.item() == pytest.approx(500)
    assert query.grad is not None and query.grad.isfinite().all()


def test_the_shared_softmax_of_all_items_is_the_softmax_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    query, items, target = random_problem(torch.float64)
    everything = torch.arange(400)
    expected = results(F.cross_entropy(query @ items.T, target), query, items)
    for block_scores in (losses.BLOCK_SCORES, 400 * 70):
        monkeypatch.setattr(losses, "BLOCK_SCORES", block_scores)
        found = results(shared_softmax(query, items[target], items, target, everything, 1.0), query, items)
        for left, right in zip(found, expected):
            torch.testing.assert_close(left, right)


def test_the_shared_softmax_weighs_a_negative_by_what_it_stands_for() -> None:
    query, items, target = random_problem(torch.float64)
    drawn = torch.randint(400, (30,), generator=torch.Generator().manual_seed(1))
    scores = query @ items[drawn].T + math.log(7.0)
    scores = scores.masked_fill(target[:, None] == drawn, -torch.inf)
    positive = (query * items[target]).sum(1)
    expected = results(sampled_softmax(positive, scores), query, items)
    found = results(shared_softmax(query, items[target], items[drawn], target, drawn, 7.0), query, items)
    for left, right in zip(found, expected):
        torch.testing.assert_close(left, right)
    rounded = shared_softmax(query.float(), items[target].float(), items[drawn].float(), target, drawn, 7.0, True)
    assert (rounded.detach() - expected[0]).abs() < 0.03
