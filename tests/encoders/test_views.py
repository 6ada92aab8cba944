"""Encoders that learn from augmented copies alone: two copies of one item find each other."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from test_finetuned import COLOUR, config_of, corpus_of, fitted, same_colour, texts, training
from test_huggingface import save_bert

from gnnrec import ranking
from gnnrec.encoders.augment import AugmentConfig, augmented
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import recomputed
from gnnrec.encoders.fitted.finetuned import FinetuneConfig
from gnnrec.encoders.fitted.log_training import LogTraining
from gnnrec.errors import UserError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder to which it matters more where a word stands than which word it is."""
    folder = tmp_path_factory.mktemp("base")
    model = save_bert(folder)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight *= 20
    model.save_pretrained(folder)
    return folder


def test_copies_in_another_order_teach_that_order_does_not_matter(base: Path, tmp_path: Path) -> None:
    """The log is in no gradient, yet what decides it comes out: which words there are."""
    random, made = np.random.default_rng(2), []
    for colour in COLOUR:
        words = random.choice(["a", "car", "house", "and"], size=random.integers(5, 10)).tolist()
        for _ in range(2):
            words.insert(random.integers(len(words)), ("red", "blue")[colour])
        made.append(" ".join(words))
    config = config_of(base, how="full", objective="views", epochs=12, patience=12)
    found, encoder = fitted(tmp_path / "views", corpus_of(made), config)
    assert same_colour(open_encoder("text", str(base)).encode(made)) < 0.6
    assert same_colour(encoder.encode(made)) > 0.85
    assert max(found["held_out"]) > found["held_out"][0] + 0.1


def test_copies_are_as_strong_as_they_are_asked_for(base: Path) -> None:
    none = AugmentConfig(**{field.name: 0.0 for field in dataclasses.fields(AugmentConfig)})
    one, other = (training(base, corpus_of(texts(), **how)) for how in ({"augment": none}, {}))
    same, changed = (side._augmented(texts(), np.random.default_rng(0)) for side in (one, other))
    assert same == texts() and sum(first != second for first, second in zip(changed, texts())) > 20
    assert one._identity() != other._identity()  # what was begun with one does not go on with the other


def of_views(one: LogTraining, items: np.ndarray, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Item by item, both ways: -log of the softmax at its own other copy."""
    a, b = one.vectors(first, items), one.vectors(second, items)
    losses = []
    for place in range(len(items)):
        for own, others in ((a[place], b), (b[place], a)):
            scores = torch.exp(others @ own / one.config.temperature)
            losses.append(-torch.log(scores[place] / scores.sum()))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("objective", ["log", "views", "both"])
def test_a_step_follows_the_gradient_of_its_objective(
    objective: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "fast_bfloat16", lambda device: False)  # to compare to five places
    one = training(base, corpus_of(texts()), objective=objective, users=2)
    items = one.learnt[:7]
    contents = [texts()[item] for item in items]
    random = np.random.default_rng(3)

    def copy() -> torch.Tensor:
        seed = int(random.integers(2**31))
        return one.encoder.embed(augmented(contents, "text", AugmentConfig(), seed))

    first = one.encoder.embed(contents) if objective == "log" else copy()
    expected = torch.zeros(())
    if objective != "views":
        expected = expected + one.loss(one.vectors(first, items), items, *one._pairs(items, random))
    if objective != "log":
        expected = expected + of_views(one, items, first, copy())
    weights = list(one.weights.values())
    gradients = torch.autograd.grad(expected, weights, allow_unused=True)
    norm = torch.sqrt(sum(part.square().sum() for part in gradients if part is not None))
    one._step(items, np.random.default_rng(3))
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(weight.grad, gradient / max(norm, 1.0), rtol=1e-3, atol=1e-5)


def test_an_item_alone_has_no_other_copies_to_be_told_from(base: Path) -> None:
    one = training(base, corpus_of(texts()), objective="views")
    before = {name: weight.detach().clone() for name, weight in one.weights.items()}
    one._step(one.learnt[:1], np.random.default_rng(0))
    assert all(torch.equal(weight, before[name]) for name, weight in one.weights.items())


def test_inner_states_are_computed_again_for_a_gradient() -> None:
    """And only for one: of what is merely encoded nothing is computed twice."""
    calls: list[int] = []
    weight = torch.tensor([2.0, 3.0], requires_grad=True)

    def part(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return torch.exp(weight * x)

    with torch.no_grad():
        assert torch.equal(recomputed(part, torch.ones(2)), torch.exp(weight))
    assert len(calls) == 1
    recomputed(part, torch.ones(2)).sum().backward()
    assert len(calls) == 3
    torch.testing.assert_close(weight.grad, torch.exp(weight.detach()))


def test_other_objectives_are_refused(base: Path) -> None:
    with pytest.raises(UserError, match="encoder.objective: found 'all'; allowed: log, views, both"):
        config_of(base, objective="all")
    with pytest.raises(UserError, match="finetune.objective: found 'predict'; allowed: log, views, both"):
        FinetuneConfig(objective="predict")
