"""One contract over every fusion."""

import pytest
import torch
from torch import Tensor

from gnnrec.fusion import FUSIONS, SingleFusion

ITEMS, DIM = 12, 16


def make(name: str, modalities: int, spread: float = 0.5) -> torch.nn.Module:
    """A fusion in the middle of its training: every parameter moved away from where it starts."""
    random = torch.Generator().manual_seed(0)
    module = FUSIONS[name](DIM, modalities, random)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=random)
    return module


def problem(modalities: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(1)
    mask = torch.rand(ITEMS, modalities, generator=random) < 0.6
    mask[0], mask[1] = False, True
    return torch.randn(ITEMS, modalities, DIM, generator=random), mask


def first_there(mask: Tensor, first: int = 0) -> Tensor:
    """Of each item the modality `first`, or where it is missing the first one that is there, by a loop."""
    chosen = torch.zeros_like(mask)
    for i, row in enumerate(mask.tolist()):
        there = [m for m in (first, *range(len(row))) if row[m]]
        if there:
            chosen[i, there[0]] = True
    return chosen


@pytest.mark.parametrize("name", FUSIONS)
def test_what_a_missing_token_holds_is_irrelevant(name: str) -> None:
    tokens, mask = problem()
    module = make(name, 3)
    fused, weights = module(tokens, mask)
    other = torch.where(mask[..., None], tokens, torch.tensor(1e4))
    assert torch.equal(module(other, mask)[0], fused)
    assert not weights[~mask].any()
    # A token that is there does matter: of `single` the one that stands for the item.
    tokens = tokens.clone()
    tokens[1, 0 if name == "single" else 2] += 1
    changed = (module(tokens, mask)[0] != fused).any(1)
    assert changed[1] and not changed[2:].any()


@pytest.mark.parametrize("name", FUSIONS)
def test_weights_sum_to_one_over_what_an_item_has(name: str) -> None:
    tokens, mask = problem()
    fused, weights = make(name, 3)(tokens, mask)
    assert fused.shape == (ITEMS, DIM) and weights.shape == (ITEMS, 3)
    torch.testing.assert_close(weights.sum(1), mask.any(1).float())
    assert (weights >= 0).all() and fused.isfinite().all()
    assert not fused[~mask.any(1)].any()


@pytest.mark.parametrize("name", FUSIONS)
def test_items_do_not_see_each_other(name: str) -> None:
    tokens, mask = problem()
    module = make(name, 3)
    order = torch.randperm(ITEMS, generator=torch.Generator().manual_seed(2))
    for whole, permuted in zip(module(tokens, mask), module(tokens[order], mask[order])):
        torch.testing.assert_close(whole[order], permuted)


@pytest.mark.parametrize("name", FUSIONS)
def test_gradients_reach_every_present_token_and_every_parameter(name: str) -> None:
    tokens, mask = problem()
    tokens.requires_grad_()
    module = make(name, 3)
    fused = module(tokens, mask)[0]
    (fused * torch.randn(fused.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    assert tokens.grad is not None
    reached = first_there(mask) if name == "single" else mask
    assert (tokens.grad.abs().sum(2) > 0).equal(reached)
    for parameter in module.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any()


@pytest.mark.parametrize("name", ["mean", "single", "attention", "late", "cross_attention", "transformer", "gnn"])
def test_a_single_modality_passes_through(name: str) -> None:
    tokens, _ = problem(1)
    mask = torch.ones(ITEMS, 1, dtype=torch.bool)
    fused, weights = make(name, 1)(tokens, mask)
    torch.testing.assert_close(fused, tokens[:, 0])
    assert torch.equal(weights, torch.ones(ITEMS, 1))


@pytest.mark.parametrize("name", [name for name in FUSIONS if name != "single"])
def test_starts_as_the_average(name: str) -> None:
    tokens, mask = problem()
    fused, _ = make(name, 3, spread=0.0)(tokens, mask)
    total, count = (tokens * mask[..., None]).sum(1), mask.sum(1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(fused, total / (3 if name == "concat" else count))


@pytest.mark.parametrize("first", [0, 1, 2])
def test_single_takes_the_one_asked_for_and_else_the_first_that_is_there(first: int) -> None:
    tokens, mask = problem()
    fused, weights = SingleFusion(DIM, 3, torch.Generator(), first=first)(tokens, mask)
    chosen = first_there(mask, first)
    assert torch.equal(weights, chosen.float())
    for i in range(ITEMS):
        assert torch.equal(fused[i], tokens[i][chosen[i]].sum(0))


@torch.no_grad()
def test_gated_attention_equals_its_formula() -> None:
    tokens, mask = problem()
    module = make("attention", 3)
    _, weights = module(tokens, mask)
    for i in range(ITEMS):
        logits = {
            m: float(
                module.vector[m] @ torch.tanh(tokens[i, m] / tokens[i, m].norm() @ module.hidden[m]) + module.bias[m]
            )
            for m in range(3)
            if mask[i, m]
        }
        total = sum(torch.tensor(value).exp() for value in logits.values())
        for m, value in logits.items():
            torch.testing.assert_close(weights[i, m], torch.tensor(value).exp() / total)


def test_late_fusion_adds_the_scores_of_the_modalities() -> None:
    tokens, mask = problem()
    module = make("late", 3)
    user = torch.randn(DIM, generator=torch.Generator().manual_seed(4))
    fused, _ = module(tokens, mask)
    share = torch.softmax(module.logits, 0) * mask
    share = share / share.sum(1, keepdim=True).clamp(min=1e-12)
    scores = torch.einsum("imd,d->im", tokens, user)
    torch.testing.assert_close(fused @ user, (share * scores).sum(1))


def test_cross_attention_hears_the_others_and_not_itself() -> None:
    """With two modalities, what one says to the other is its value, whatever was asked."""
    tokens, _ = problem(2)
    module, mask = make("cross_attention", 2), torch.ones(ITEMS, 2, dtype=torch.bool)
    stream = torch.nn.functional.normalize(tokens, dim=2) + module.kind
    heard = stream + module.out(module.value(stream.flip(1)))
    weights = torch.softmax((torch.nn.functional.normalize(heard, dim=2) * module.query).sum(2), 1)
    torch.testing.assert_close(module(tokens, mask)[1], weights)
