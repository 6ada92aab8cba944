"""Pieces of a graph: the same as the whole where nothing is left out, right on average where something is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Interactions, powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import (
    INTERACTS,
    REV_INTERACTS,
    TOGETHER,
    GraphConfig,
    build_graph,
    interactions_of,
    operator,
    visited_edges,
)
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.subgraph import sampler_of, step_piece
from gnnrec.training import TrainConfig, Trainer, fit

USERS, ITEMS = 40, 30
ABLE = [name for name, (kind, config) in MODELS.items() if getattr(kind, "hops", None) is not None] + [
    "lightgcn",
    "xsimgcl",
    "modality_gnn",
]


def log_of(seed: int = 0) -> Interactions:
    return powerlaw(USERS, ITEMS, 290, seed).interactions


def graph_of(log: Interactions | None = None, **settings: Any) -> HeteroData:
    random = np.random.default_rng(0)
    values = random.normal(size=(ITEMS, 6)).astype(np.float32)
    values[[3, 4]] = np.nan
    users = random.normal(size=(USERS, 5)).astype(np.float32)
    items = {"text": from_array(values), "image": from_array(values[:, ::-1] + 0.1)}
    friends = np.array([[0, 1], [2, 5]], np.int32)
    return build_graph(log or log_of(), items, {"text": from_array(users)}, friends, GraphConfig(**settings))


def model_of(name: str, graph: HeteroData, **settings: Any) -> EmbeddingModel:
    kind, config = MODELS[name]
    model: EmbeddingModel = kind(config(dim=8, **settings), graph, torch.Generator().manual_seed(0))
    return model


LOSSES: list[dict[str, Any]] = [
    {},
    {"loss": "bce"},
    {"loss": "bpr", "negatives": 3},
    {"whole_catalogue": 0, "shared_negatives": 7},
]
# xsimgcl draws noise before its negatives, as many numbers as there are nodes.
CASES = [(name, settings) for name in ABLE for settings in (LOSSES[:2] if name == "xsimgcl" else LOSSES)]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_step_on_all_neighbours_is_a_step_on_the_whole_graph(name: str, settings: dict[str, Any]) -> None:
    """Loss and gradients are those of the whole graph."""
    graph = graph_of(missing="drop")
    found = []
    for sampling in ("whole", "neighbours"):
        model = model_of(name, graph, **({"noise": 0.0} if name == "xsimgcl" else {}))
        config = TrainConfig(sampling=sampling, fanout=0, **settings)
        trainer = Trainer(model, graph, log_of().rows(slice(0, 0)), config)
        batch = torch.randperm(len(interactions_of(graph)), generator=torch.Generator().manual_seed(3))[:90]
        loss = trainer._whole_loss(batch) if trainer.sampler is None else trainer._sampled_loss(batch, trainer.sampler)
        loss.backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        found.append((loss, {name: grad.to_dense() for name, grad in gradients.items()}))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-5, rtol=1e-4)


def test_sampled_messages_are_the_whole_graph_s_on_average() -> None:
    """Two hops of three neighbours: the mean over many pieces is the dense propagation, of either normalization."""
    graph = graph_of()
    sampler = sampler_of(graph, (3, 3))
    random = np.random.default_rng(0)
    users, x = np.array([0, 7, 21, 39]), torch.randn(USERS, 4, generator=torch.Generator().manual_seed(1))
    rounds, kinds = 1_500, ("symmetric", "mean", "none")
    exact = {how: (operator(graph, REV_INTERACTS, how) @ (operator(graph, INTERACTS, how) @ x))[users] for how in kinds}
    drawn = {how: torch.empty(rounds, len(users), 4) for how in kinds}
    for number in range(rounds):
        piece = sampler.piece(users, np.zeros(0, np.int64), random)
        local = piece.graph
        for how in kinds:
            heard = operator(local, INTERACTS, how) @ x[local["user"].n_id]
            drawn[how][number] = (operator(local, REV_INTERACTS, how) @ heard)[piece.user]
    for how in kinds:
        error = (drawn[how].mean(0) - exact[how]).abs() / (drawn[how].std(0) / rounds**0.5 + 1e-7)
        assert error.max() < 4.5
        assert (drawn[how][0] - exact[how]).abs().max() > 1e-3


def test_edges_beside_are_right_on_average_too() -> None:
    graph = graph_of(neighbors=8, together=8)
    sampler, random, rounds = sampler_of(graph, (3,)), np.random.default_rng(0), 1_500
    items = np.array([1, 3, 9])
    kind = ("item", "together", "item")
    x = torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(1))
    exact = (operator(graph, kind, "mean") @ x)[items]
    drawn = torch.empty(rounds, *exact.shape)
    for number in range(rounds):
        piece = sampler.piece(np.zeros(0, np.int64), items, random)
        local = piece.graph
        drawn[number] = (operator(local, kind, "mean") @ x[local["item"].n_id])[piece.item]
    assert ((drawn.mean(0) - exact).abs() / (drawn.std(0) / rounds**0.5 + 1e-7)).max() < 4.5


def test_no_piece_of_a_temporal_step_holds_what_came_later() -> None:
    """The edges by their true times, however far from the batch, and degrees as of then."""
    log = log_of()
    assert log.timestamp is not None
    graph = graph_of(log, together=0)
    sampler = sampler_of(graph, (4, 4, 4))
    pairs = {(user, item): time for user, item, time in reversed(list(zip(log.user, log.item, log.timestamp)))}
    seen = 0
    for begin in range(0, 280, 40):
        batch = torch.arange(begin, begin + 40)
        piece = step_piece(sampler, graph, batch, torch.arange(ITEMS), temporal=True, seed=begin)
        limit = log.timestamp[begin]
        for kind in (INTERACTS, REV_INTERACTS):
            made = operator(piece.graph, kind, "none")
            target = torch.repeat_interleave(torch.arange(made.shape[0]), made.offsets.diff().long())
            ends = {kind[0]: made.columns.long(), kind[2]: target}
            user, item = (piece.graph[name].n_id[ends[name]].tolist() for name in ("user", "item"))
            assert all(pairs[pair] < limit for pair in zip(user, item))
            seen += len(user)
        degree = piece.graph[REV_INTERACTS].sampled.row_degree
        users = piece.graph["user"].n_id.tolist()
        assert degree.tolist() == [sum(t < limit for (u, _), t in pairs.items() if u == user) for user in users]
    assert seen > 500


def test_short_names_lead_back_to_the_right_rows() -> None:
    graph = graph_of()
    asked = np.array([5, 3, 5, 29]), np.array([3, 11, 4, 11, 0])
    piece = sampler_of(graph, (2,)).piece(*asked, np.random.default_rng(0))
    for name, wanted, local in (("user", asked[0], piece.user), ("item", asked[1], piece.item)):
        assert piece.graph[name].n_id[local].tolist() == wanted.tolist()
        assert len(set(piece.graph[name].n_id.tolist())) == piece.graph[name].num_nodes
    owner, node = piece.graph["item", "has_text", "text"].edge_index
    whole = graph["item", "has_text", "text"].edge_index
    row = dict(zip(*whole.tolist()))
    for item, place in zip(piece.graph["item"].n_id[owner].tolist(), node.tolist()):
        assert torch.equal(piece.graph["text"].x[place], graph["text"].x[row[item]])


def noisy_groups(seed: int) -> tuple[Interactions, Interactions]:
    """Train and validation rows of 120 users in 6 groups: 6 and 2 of the 10 items of their group, and 6 of others."""
    random, parts = np.random.default_rng(seed), ([], [])  # type: ignore[var-annotated]
    for user in range(120):
        own = random.permutation(np.arange(user % 6, 60, 6))
        others = random.permutation(np.setdiff1d(np.arange(60), own))[:6]
        for part, items in zip(parts, ((*own[:6], *others), own[6:8])):
            part.extend((user, item) for item in items)
    columns = (np.array(part, np.int32)[random.permutation(len(part))].T.copy() for part in parts)
    train, val = (Interactions(user=user, item=item, num_users=120, num_items=60) for user, item in columns)
    return train, val


def test_lightgcn_learns_from_neighbours_by_visits_as_well_as_from_uniform_ones() -> None:
    """Held-out items of a user's group: .03 by chance, .5 after these few epochs. Means of three seeds, within 3 %."""
    found: dict[str, list[float]] = {"uniform": [], "visits": []}
    for importance, values in found.items():
        for seed in range(3):
            log, val = noisy_groups(seed)
            graph = build_graph(log, {}, config=GraphConfig(together=0))
            kind, config = MODELS["lightgcn"]
            model = kind(config(dim=16, layers=2), graph, torch.Generator().manual_seed(seed))
            settings = {"epochs": 12, "validate_every": 12, "batch_size": 128, "learning_rate": 1e-2, "average": 0.9}
            chosen = {"sampling": "neighbours", "fanout": 4, "importance": importance, "seed": seed}
            values.append(fit(model, graph, val, TrainConfig(**settings, **chosen)).best_metric)
    assert np.mean(found["visits"]) > 0.97 * np.mean(found["uniform"]) > 0.4


@pytest.mark.parametrize("sampling", ["neighbours", "temporal"])
def test_pieces_by_visits_hold_the_most_visited_and_depend_on_the_seed_alone(sampling: str) -> None:
    """Two groups that share nothing: a piece never leaves its own, and holds at most what is kept of each node."""
    random = np.random.default_rng(0)
    user = np.arange(40).repeat(7).astype(np.int32)
    item = (random.integers(0, 15, 280) + 15 * (user % 2)).astype(np.int32)
    order = random.permutation(280)
    log = Interactions(user=user[order], item=item[order], num_users=40, num_items=30, timestamp=np.arange(280))
    sampler = sampler_of(build_graph(log, {}, config=GraphConfig(together=0)), (4, 4))
    sampler.importance = "visits"
    limit = 200 if sampling == "temporal" else None
    pieces = [
        sampler.piece(np.array([2, 8, 20]), np.array([3]), np.random.default_rng(seed), limit) for seed in (5, 5, 6)
    ]
    operators = [operator(piece.graph, REV_INTERACTS, "mean") for piece in pieces]
    assert torch.equal(operators[0].values, operators[1].values) and pieces[0].num_edges == pieces[1].num_edges
    assert len(operators[0].values) != len(operators[2].values) or not torch.equal(*(o.values for o in operators[::2]))
    for piece, made in zip(pieces, operators, strict=True):
        assert (piece.graph["user"].n_id % 2 == 0).all() and (piece.graph["item"].n_id < 15).all()
        assert 0 < made.offsets.diff().max() <= 4
        sums = made @ torch.ones(piece.graph["item"].num_nodes, 1)
        asked = torch.unique(piece.user)
        torch.testing.assert_close(sums[asked], torch.ones(len(asked), 1))


def test_a_user_s_command_trains_on_edges_and_neighbours_by_visits(
    planted_folder: Path, one_document: Callable, tmp_path: Path
) -> None:
    """graph.together_by=visits reaches the run's graph, and train.importance=visits its steps: other lists, the cause
    found all the same."""
    found = {}
    for kind in ("uniform", "visits"):
        settings = [
            *("model.name=modality_gnn", "model.dim=16", "graph.together=3", "train.epochs=8", "train.batch_size=128"),
            *("train.sampling=neighbours", "train.fanout=4", f"train.importance={kind}", "model.recent=0"),
            f"graph.together_by={'visits' if kind == 'visits' else 'cosine'}",
        ]
        one_document("train", planted_folder, "--out", tmp_path / kind, "--set", *settings)
        found[kind] = Run.load(tmp_path / kind)
    run = found["visits"]
    edges, weight = visited_edges(run.train, 3)
    assert torch.equal(run.graph[TOGETHER].edge_index, edges) and torch.equal(run.graph[TOGETHER].edge_weight, weight)
    assert not torch.equal(found["uniform"].graph[TOGETHER].edge_index, edges)
    assert run.recipe.train.importance == "visits"
    metric = {kind: one.metrics["metrics"]["ndcg@10"] for kind, one in found.items()}
    assert metric["visits"] > 0.8 * metric["uniform"] > 0.1


@pytest.mark.parametrize("sampling", ["neighbours", "temporal"])
def test_a_stopped_training_on_pieces_goes_on_bit_for_bit(sampling: str, tmp_path: Path) -> None:
    graph, nothing = graph_of(together=0), log_of().rows(slice(0, 0))
    config = TrainConfig(sampling=sampling, fanout=3, epochs=2, batch_size=150)
    whole = model_of("modality_gnn", graph)
    fit(whole, graph, nothing, config)
    first = Trainer(model_of("modality_gnn", graph), graph, nothing, config, tmp_path / "checkpoint.safetensors")
    first.state.loss_sum += first.step(first._batches()[0])
    first.state.step = 1
    first.save()
    again = model_of("modality_gnn", graph)
    fit(again, graph, nothing, config, checkpoint=tmp_path / "checkpoint.safetensors")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_a_user_s_command_trains_on_pieces(planted_folder: Path, tmp_path: Path) -> None:
    """And its lists are about as good as those of whole graphs: the planted cause is found."""
    metrics = {}
    for sampling in ("whole", "neighbours"):
        recipe = load_recipe(
            "lightgcn_softmax",
            [
                f"train.sampling={sampling}",
                "train.fanout=5,5,5",
                "train.epochs=20",
                "train.batch_size=128",
                "model.dim=16",
            ],
        )
        metrics[sampling] = train(Dataset.load(planted_folder), tmp_path / sampling, recipe).metrics["metrics"][
            "ndcg@10"
        ]
    assert metrics["neighbours"] > 0.8 * metrics["whole"] > 0.1


@pytest.mark.parametrize(
    ("name", "graph_settings", "settings", "said"),
    [
        ("vbpr", {}, {}, "train.sampling: found 'neighbours'; allowed: whole, since VBPR sees all edges at once"),
        (
            "mf",
            {},
            {"importance": "visits"},
            "importance: found 'visits'; allowed: uniform, since .* draws no neighbours",
        ),
        ("lightgcn", {}, {"fanout": "5,5"}, "train.fanout: found '5,5'; allowed: one number, or 3"),
        ("lightgcn", {}, {"sampling": "temporal"}, "graph.together: counts the whole log"),
        ("lightgcn", {"timed": False}, {"sampling": "temporal"}, "allowed: data with timestamps"),
    ],
)
def test_what_cannot_be_sampled_is_one_clear_line(
    name: str, graph_settings: dict[str, bool], settings: dict[str, Any], said: str
) -> None:
    log = log_of() if graph_settings.get("timed", True) else replace(log_of(), timestamp=None)
    graph = graph_of(log)
    with pytest.raises(UserError, match=said):
        Trainer(
            model_of(name, graph), graph, interactions_of(graph), TrainConfig(**{"sampling": "neighbours"} | settings)
        )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sampling": "some"}, "allowed: whole, neighbours, temporal"),
        ({"fanout": "5,x"}, "train.fanout: found '5,x'"),
        ({"importance": "degree"}, "train.importance: found 'degree'; allowed: uniform, visits"),
        ({"importance": "visits"}, "allowed with train.sampling=whole: uniform"),
        ({"importance": "visits", "sampling": "neighbours", "fanout": "5, 0"}, "importance=visits: 1 or more at each"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TrainConfig(**settings)
