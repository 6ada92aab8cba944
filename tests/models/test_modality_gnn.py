"""modality_gnn: what a message may carry, whom it reaches, and that the modality that decides wins."""

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Interactions, planted, powerlaw, split
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.evaluation import evaluate_ranking
from gnnrec.graph import GraphConfig, build_graph, item_modalities
from gnnrec.graph_growth import add_items
from gnnrec.models import model_scorer
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig
from gnnrec.training import TrainConfig, fit

USERS, ITEMS, DIM = 30, 25, 8


def make(graph: HeteroData, **settings: Any) -> ModalityGNN:
    """A model whose every parameter is drawn, the gates of its fusion too."""
    random = torch.Generator().manual_seed(0)
    model = ModalityGNN(ModalityGNNConfig(**{"dim": DIM} | settings), graph, random)
    with torch.no_grad():
        for parameter in model.fusion.parameters():
            parameter += torch.randn(parameter.shape, generator=random)
    return model


def toy(timestamp: bool = True) -> tuple[Interactions, dict[str, Features]]:
    """A log in which the last two items and the last two users are cold, with two modalities, one of them gappy."""
    log = powerlaw(USERS - 2, ITEMS - 2, 150).interactions
    log = Interactions(
        user=log.user, item=log.item, num_users=USERS, num_items=ITEMS, timestamp=log.timestamp if timestamp else None
    )
    random = np.random.default_rng(0)
    text, image = random.normal(size=(2, ITEMS, 6)).astype(np.float32)
    image[[1, 5]] = np.nan
    return log, {"text": from_array(text), "image": from_array(image)}


@torch.no_grad()
def test_renumbered_users_and_items_get_the_same_embeddings() -> None:
    log, content = toy()
    friends = np.array([[0, USERS - 1], [3, 4]], np.int32)
    user_text = np.random.default_rng(1).normal(size=(USERS, 5)).astype(np.float32)
    config = GraphConfig(neighbors=4, together=ITEMS)  # fewer would leave ties to be cut by index
    graph = build_graph(log, content, {"text": from_array(user_text)}, friends, config)
    model = make(graph)
    random = np.random.default_rng(2)
    user_new, item_new = random.permutation(USERS), random.permutation(ITEMS)  # old index -> new index
    user_old, item_old = np.argsort(user_new), np.argsort(item_new)
    renumbered = build_graph(
        Interactions(
            user=user_new[log.user].astype(np.int32),
            item=item_new[log.item].astype(np.int32),
            num_users=USERS,
            num_items=ITEMS,
            timestamp=log.timestamp,
        ),
        {
            name: Features(values=part.values[item_old], mask=part.mask[item_old], encoder="")
            for name, part in content.items()
        },
        {"text": from_array(user_text[user_old])},
        user_new[friends].astype(np.int32),
        config,
    )
    other = make(renumbered)
    state = model.state_dict()
    for name in state:
        if name.startswith("user"):
            state[name] = state[name][user_old]
        if name.startswith("item") or name in ("context", "target"):
            state[name] = state[name][item_old]
    other.load_state_dict(state)
    before, after = model(graph), other(renumbered)
    torch.testing.assert_close(after.user, before.user[user_old], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(after.item, before.item[item_old], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_new_items_move_nobody_and_stand_where_known_cold_ones_would() -> None:
    log, content = toy()
    config = GraphConfig(neighbors=3)
    # The two cold items mirror each other about the mean of the rest, one deviation away: with or without them,
    # mean and deviation are the same.
    for part in content.values():
        known = part.values[: ITEMS - 2][part.mask[: ITEMS - 2]].astype(np.float64)
        sign = np.where(np.arange(known.shape[1]) % 2, 1, -1)
        part.values[ITEMS - 2 :] = known.mean(0) + sign * known.std(0) * np.array([[1], [-1]])
    whole = build_graph(log, content, config=config)
    rest = {
        name: Features(values=part.values[: ITEMS - 2], mask=part.mask[: ITEMS - 2], encoder="")
        for name, part in content.items()
    }
    log_of_rest = Interactions(
        user=log.user, item=log.item, num_users=USERS, num_items=ITEMS - 2, timestamp=log.timestamp
    )
    graph = build_graph(log_of_rest, rest, config=config)
    model = make(graph)
    before = model(graph)
    grown = model(add_items(graph, {name: part.values[ITEMS - 2 :] for name, part in content.items()}, config))
    assert torch.equal(grown.user, before.user)
    assert torch.equal(grown.item[: ITEMS - 2], before.item)
    assert grown.item[ITEMS - 2 :].abs().sum(1).gt(0).all()
    known = make(whole)
    state = known.state_dict()
    for name, value in model.state_dict().items():
        state[name] = torch.cat([value, state[name][len(value) :]]) if state[name].shape != value.shape else value
    known.load_state_dict(state)
    torch.testing.assert_close(known(whole).item[ITEMS - 2 :], grown.item[ITEMS - 2 :], atol=1e-4, rtol=1e-4)


def test_content_and_friends_carry_those_without_interactions() -> None:
    log, content = toy(timestamp=False)
    cold, alone = USERS - 1, USERS - 2
    user_text = np.random.default_rng(1).normal(size=(USERS, 5)).astype(np.float32)
    user_text[alone] = np.nan
    friends = np.array([[cold], [3]], np.int32)
    graph = build_graph(log, content, {"text": from_array(user_text)}, friends)
    model = make(graph)
    user, item, *_ = model(graph)
    # Cold: her own text and her friend's free embedding, nothing else's; her own free embedding is switched off.
    gradient = torch.autograd.grad(user[cold].sum(), model.user, retain_graph=True)[0].abs().sum(1)
    assert gradient.gt(1e-9).nonzero().flatten().tolist() == [3]
    assert torch.autograd.grad(user[cold].sum(), model.project["user_text"].weight, retain_graph=True)[0].any()
    # A user of whom nothing is known stands where the average user stands.
    taste = torch.nn.functional.normalize(user[alone], dim=0)
    assert taste.isfinite().all() and torch.nn.functional.cosine_similarity(taste, user.mean(0), dim=0) > 0.5
    # A cold item listens to its neighbours' free embeddings, not to its own.
    reach = torch.autograd.grad(item[ITEMS - 1].sum(), model.item, retain_graph=True)[0].abs().sum(1).gt(1e-9)
    assert reach.any() and not reach[ITEMS - 2 :].any()


@torch.no_grad()
def test_switches_switch_off() -> None:
    log, content = toy()
    friends = np.array([[0], [3]], np.int32)
    graph = build_graph(log, content, None, friends)
    bare = build_graph(log, content, None, None, GraphConfig(neighbors=0, together=0))
    off = make(graph, similar=0.0, together=0.0, friend=0.0)
    torch.testing.assert_close(off(graph).item, off(bare).item)
    torch.testing.assert_close(off(graph).user, off(bare).user)
    for name in ("similar", "together"):
        on = make(graph, **{"similar": 0.0, "together": 0.0, "friend": 0.0, name: 1.0})
        assert not torch.allclose(on(graph).item, off(graph).item)
    assert off(graph).item.shape[1] == 2 * DIM and make(graph, recent=0)(graph).item.shape[1] == DIM


@pytest.mark.parametrize("modality", ["", "image", "text"])
def test_single_listens_to_the_modality_that_is_named(modality: str) -> None:
    log, content = toy()
    graph = build_graph(log, content, config=GraphConfig(missing="drop"))
    weights, mask = make(graph, fusion="single", modality=modality).modality_weights(graph)
    named = item_modalities(graph).index(modality or "image")  # image comes before text
    missing = [1, 5] if named == item_modalities(graph).index("image") else []
    expected = torch.zeros_like(weights)
    expected[:, named] = 1
    expected[missing] = 1 - expected[missing]
    assert mask[:, 1].all() and torch.equal(weights, expected)


def test_a_modality_that_cannot_be_taken_is_refused_with_those_that_can() -> None:
    log, content = toy()
    graph = build_graph(log, content)
    with pytest.raises(UserError, match=r"^model\.modality: found 'audio'; allowed: image, text$"):
        make(graph, fusion="single", modality="audio")
    with pytest.raises(UserError, match=r"^model\.modality: found 'text'; allowed with model\.fusion=attention: none$"):
        make(graph, modality="text")


def trained(dataset: Dataset, fusion: str, modalities: tuple[str, ...]) -> tuple[ModalityGNN, HeteroData, float]:
    """The model, its graph, and NDCG@10 of the cold items among themselves."""
    parts = split(dataset)
    graph = build_graph(parts.train, {name: from_array(dataset.item_features[name]) for name in modalities})
    model = ModalityGNN(ModalityGNNConfig(dim=32, fusion=fusion), graph, torch.Generator().manual_seed(0))
    fit(model, graph, parts.val, TrainConfig(epochs=30, batch_size=256, patience=30))
    cold = np.bincount(parts.train.item, minlength=len(dataset.item_ids)) == 0
    evaluation = evaluate_ranking(
        model_scorer(model, graph),
        relevant=parts.test,
        train=parts.train,
        seen=parts.train,
        candidates=cold,
        resamples=0,
    )
    return model, graph, evaluation.metrics["ndcg@10"]


@pytest.mark.parametrize("fusion", ["attention", "late", "cross_attention", "transformer", "gnn"])
@pytest.mark.parametrize("cause", ["text", "image", "audio"])
def test_the_modality_that_decides_wins_the_attention(cause: str, fusion: str) -> None:
    dataset = planted(cause)
    model, graph, cold = trained(dataset, fusion, ("text", "image", "audio"))
    weights, mask = model.modality_weights(graph)
    assert mask.all() and torch.allclose(weights.sum(1), torch.ones(len(weights)))
    share = dict(zip(item_modalities(graph), weights.mean(0).tolist()))
    assert share.pop(cause) > 1.05 * max(share.values())
    assert cold > 0.6


@pytest.mark.parametrize("cause", ["text", "image", "audio"])
def test_cold_items_are_found_by_what_decides_and_by_nothing_else(cause: str) -> None:
    dataset = planted(cause)
    others = tuple(name for name in ("text", "image", "audio") if name != cause)
    _, _, right = trained(dataset, "attention", (cause,))
    _, _, wrong = trained(dataset, "attention", others)
    assert right > 3 * wrong
