"""The loop: repeatable to the bit, resumable to the bit, honest about what it may see."""

import hashlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

import gnnrec.training
import gnnrec.weights.whole
from gnnrec.checkpoint import TrainState
from gnnrec.datasets import Interactions, planted, powerlaw, split
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, build_graph
from gnnrec.models import MODELS, EmbeddingModel, model_scorer
from gnnrec.training import Interrupted, TrainConfig, Trainer, fit, temperature_for
from gnnrec.validation import validation_metric

QUICK = TrainConfig(epochs=4, batch_size=140, validate_every=1)
STEPS = 3  # of an epoch
DRAWN = replace(QUICK, loss="bpr", negatives=2, temperature=1.0)


def problem() -> tuple[HeteroData, Interactions]:
    dataset = planted("text", num_users=80, num_items=60)
    parts = split(dataset)
    return build_graph(parts.train, {name: from_array(part) for name, part in dataset.item_features.items()}), parts.val


def start(graph: HeteroData, name: str = "modality_gnn", seed: int = 0) -> EmbeddingModel:
    kind, config = MODELS[name]
    model: EmbeddingModel = kind(config(dim=8), graph, torch.Generator().manual_seed(seed))
    return model


def sha256(model: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def run(config: TrainConfig, name: str = "modality_gnn", **more: Any) -> tuple[str, TrainState]:
    graph, val = problem()
    model = start(graph, name)
    state = fit(model, graph, val, config, **more)
    return sha256(model), state


@pytest.mark.parametrize("config", [QUICK, DRAWN])
def test_one_seed_gives_the_same_bits_and_another_does_not(config: TrainConfig) -> None:
    first, state = run(config)
    assert run(config)[0] == first
    assert run(replace(config, seed=1))[0] != first
    losses = [row["loss"] for row in state.history]
    assert losses[-1] < losses[0] and [row["epoch"] for row in state.history] == [1, 2, 3, 4]


def test_the_kept_weights_are_the_moving_average_of_all_updates(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, val = problem()
    model, seen = start(graph), []
    first = model.item.detach().clone()
    original = Trainer.step

    def step(self: Trainer, batch: torch.Tensor) -> float:
        loss = original(self, batch)
        seen.append(self.model.item.detach().clone())
        return loss

    monkeypatch.setattr(Trainer, "step", step)
    fit(model, graph, val.rows(slice(0, 0)), replace(QUICK, epochs=3, average=0.6))  # without val the last one is kept
    expected = first
    for number, weights in enumerate(seen, start=1):
        decay = min(0.6, number / (10 + number))
        expected = decay * expected + (1 - decay) * weights
    assert len(seen) == 3 * STEPS
    torch.testing.assert_close(model.item.detach(), expected)
    assert not torch.allclose(model.item.detach(), seen[-1], atol=1e-3)


@pytest.mark.parametrize("config", [QUICK, DRAWN])
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_ctrl_c_saves_and_the_same_call_ends_with_the_same_weights(
    tmp_path: Path, config: TrainConfig, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes at the first, the last and a middle step of an epoch."""
    whole, state = run(config)
    checkpoint, steps = tmp_path / "checkpoint.safetensors", 0
    original = Trainer.step

    def step(self: Trainer, batch: torch.Tensor) -> float:
        nonlocal steps
        steps += 1
        if steps == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, batch)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Interrupted):
        run(config, checkpoint=checkpoint, settings="s")
    assert steps == stop_at and signal.getsignal(signal.SIGINT) is handler
    resumed, again = run(config, checkpoint=checkpoint, settings="s")
    assert steps == state.epoch * STEPS  # no step was made twice
    assert resumed == whole
    assert [row["loss"] for row in again.history] == [row["loss"] for row in state.history]
    assert again.best_epoch == state.best_epoch
    # A finished checkpoint trains no more.
    assert run(config, checkpoint=checkpoint, settings="s")[0] == whole and steps == state.epoch * STEPS


def test_a_crash_costs_what_was_done_since_the_last_checkpoint_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(DRAWN)
    monkeypatch.setattr(gnnrec.training, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step
    original, steps = Trainer.step, 0

    def step(self: Trainer, batch: torch.Tensor) -> float:
        nonlocal steps
        steps += 1
        if steps == 6:
            raise MemoryError
        return original(self, batch)

    monkeypatch.setattr(Trainer, "step", step)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(MemoryError):
        run(DRAWN, checkpoint=checkpoint)
    assert run(DRAWN, checkpoint=checkpoint)[0] == whole
    assert steps == 1 + 4 * STEPS


def test_a_checkpoint_of_other_settings_or_none_at_all_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    run(QUICK, checkpoint=checkpoint, settings="one")
    with pytest.raises(UserError, match="was made under other settings or data; choose another --out or delete it"):
        run(QUICK, checkpoint=checkpoint, settings="two")
    from safetensors.torch import save_file

    whole = checkpoint.read_bytes()
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for damaged in (whole[:1000], b"", b"x" * 5000, (tmp_path / "other.safetensors").read_bytes()):
        checkpoint.write_bytes(damaged)
        with pytest.raises(UserError, match=r"checkpoint\.safetensors: "):
            run(QUICK, checkpoint=checkpoint, settings="one")


def test_the_best_epoch_is_kept_and_patience_ends_training(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, val = problem()
    model = start(graph)
    values, weights = iter([0.1, 0.3, 0.2, 0.3, 0.25, 0.9]), []

    def metric(*arguments: Any) -> float:
        weights.append(sha256(model))
        return next(values)

    monkeypatch.setattr(gnnrec.weights.whole, "validation_metric", metric)
    state = fit(model, graph, val, replace(QUICK, epochs=20, validate_every=2, patience=3))
    # The second of six validations was the best; 0.3 again is no progress, and after three the training stops.
    assert (state.best_epoch, state.epoch, state.best_metric, len(weights)) == (4, 10, 0.3, 5)
    assert sha256(model) == weights[1]
    assert [row.get("ndcg@20") for row in state.history[:4]] == [None, 0.1, None, 0.3]


def test_a_training_whose_time_is_up_ends_with_what_it_has(tmp_path: Path) -> None:
    """In its second step, of an epoch that is validated then, and the same for who is called once more."""
    graph, val = problem()
    steps = Trainer(start(graph), graph, val, QUICK)
    losses = [steps.step(batch) for batch in steps._batches()[:2]]

    class Clock:
        seconds = -100.0

        def monotonic(self) -> float:
            Clock.seconds += 7.0
            return Clock.seconds

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gnnrec.training, "time", Clock())  # the first step ends 7 s after the epoch began
        model = start(graph)
        state = fit(model, graph, val, replace(QUICK, minutes=0.2), checkpoint=tmp_path / "kept")
    (row,) = state.history
    assert row["loss"] == sum(losses) / 2 and row["ndcg@20"] == state.best_metric and state.finished
    again = fit(start(graph), graph, val, replace(QUICK, minutes=0.2), checkpoint=tmp_path / "kept")
    assert again.history == state.history


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    graph, val = problem()
    empty = val.rows(np.zeros(0, np.int64))
    models = [start(graph), start(graph)]
    for model, epochs in zip(models, (2, 4)):
        state = fit(model, graph, empty, replace(QUICK, epochs=epochs))
        assert state.epoch == epochs and "ndcg@20" not in state.history[-1]
    assert sha256(models[0]) != sha256(models[1])


def test_validation_ranks_everything_but_what_was_trained_on() -> None:
    graph, val = problem()
    model = start(graph)
    found = validation_metric(model, graph, gnnrec.training.interactions_of(graph), val, "ndcg@5")
    scores = model_scorer(model, graph)(torch.arange(80))
    edges = graph["user", "interacts", "item"].edge_index
    scores[edges[0], edges[1]] = -torch.inf
    gains = []
    for user in np.unique(val.user):
        wanted = set(val.item[val.user == user].tolist())
        best = scores[user].argsort(descending=True)[:5].tolist()
        ideal = sum(1 / np.log2(place + 2) for place in range(min(5, len(wanted))))
        gains.append(sum(1 / np.log2(place + 2) for place, item in enumerate(best) if item in wanted) / ideal)
    assert found == pytest.approx(np.mean(gains))


def test_negatives_are_never_the_user_s_own_items() -> None:
    log = powerlaw(20, 60, 300).interactions  # one user has half of everything
    log = replace(log, num_items=65)  # the last five nobody took
    graph = build_graph(log, {})
    trainer = Trainer(start(graph, "mf"), graph, log, replace(DRAWN, negatives=30))
    batch = torch.arange(len(log))
    drawn = trainer._draw_negatives(batch)
    own = log.matrix().toarray() > 0
    assert drawn.shape == (len(log), 30)
    assert not own[log.user[:, None], drawn.numpy()].any()
    assert drawn.max() < 60  # what nobody took is no negative either
    # One who has everything gets something: no negative of hers would be right.
    everything = Interactions(np.zeros(3, np.int32), np.arange(3, dtype=np.int32), 1, 3)
    alone = Trainer(start(build_graph(everything, {}), "mf"), build_graph(everything, {}), everything, DRAWN)
    assert set(alone._draw_negatives(torch.arange(3)).flatten().tolist()) <= {0, 1, 2}
    # Drawn evenly: of a user with few items, all others come about equally often.
    user = int(np.argmin(own.sum(1)))
    counts = np.bincount(
        torch.cat([trainer._draw_negatives(batch[log.user == user]) for _ in range(200)]).flatten(), minlength=65
    )
    allowed = counts[:60][~own[user, :60] & (own.sum(0)[:60] > 0)]
    assert allowed.min() > 0.7 * allowed.mean() and allowed.max() < 1.3 * allowed.mean()


@pytest.mark.parametrize("loss", ["softmax", "bpr", "bce", "hinge"])
@pytest.mark.parametrize("negatives", [0, 5])
def test_every_loss_learns_what_is_planted(loss: str, negatives: int) -> None:
    graph, val = problem()
    model = start(graph, "lightgcn")
    log = gnnrec.training.interactions_of(graph)
    before = validation_metric(model, graph, log, val, "ndcg@20")
    fit(model, graph, val, replace(QUICK, loss=loss, negatives=negatives, epochs=15))
    assert validation_metric(model, graph, log, val, "ndcg@20") > before + 0.05


def test_catalogue_and_plain_softmax_give_the_same_loss() -> None:
    graph, val = problem()
    trainer = Trainer(start(graph), graph, val, replace(QUICK, precision="float32"))
    batch = torch.arange(50)
    with torch.no_grad():
        embeddings = trainer.model(graph)
        fused = trainer._loss(batch, embeddings)
        query = trainer.model.queries(graph, embeddings, batch) / trainer.temperature
        scores = query @ embeddings.item.T
    taken = torch.bincount(trainer.items, minlength=60) > 0
    scores[:, ~taken] = -torch.inf
    torch.testing.assert_close(fused, torch.nn.functional.cross_entropy(scores, trainer.items[batch]))


@pytest.mark.parametrize("batch_size", [140, 10_000])  # seen in the loss of the next step, or in the validation
@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_a_training_that_diverges_is_one_clear_line(loss: str, batch_size: int) -> None:
    graph, val = problem()
    model = MODELS["lightgcn"][0](MODELS["lightgcn"][1](dim=8, similarity="dot"), graph, torch.Generator())
    config = replace(QUICK, loss=loss, negatives=int(loss == "bpr"), learning_rate=1e30, batch_size=batch_size)
    with pytest.raises(UserError, match=r"training: .*(not finite|NaN).* in epoch 1; lower train\.learning_rate"):
        fit(model, graph, val, config)


OTHER: dict[str, Any] = {
    "loss": "bpr",
    "temperature": 0.5,
    "negatives": 3,
    "learning_rate": 1e-2,
    "weight_decay": 0.1,
    "batch_size": 90,
    "epochs": 2,
    "minutes": 1e-9,
    "validate_every": 3,
    "patience": 1,
    "metric": "recall@1",
    "precision": "float32",
    "average": 0.0,
    "seed": 5,
    "max_steps": 2,
    "whole_catalogue": 1,
    "shared_negatives": 7,
    "sampling": "neighbours",
    "fanout": 1,
    "importance": "visits",
    "tables": "mapped",  # rounds the average otherwise, see weights/average.py
}


def test_every_setting_of_the_training_matters() -> None:
    usual = replace(QUICK, epochs=6, precision="bfloat16")
    assert OTHER.keys() == set(TrainConfig.__dataclass_fields__)
    base = run(usual)
    for key, value in OTHER.items():
        if key == "fanout":  # of sampled pieces only
            usual, base = replace(usual, sampling="neighbours"), run(replace(usual, sampling="neighbours"))
        if key == "shared_negatives":  # of large catalogues only
            usual, base = replace(usual, whole_catalogue=1), run(replace(usual, whole_catalogue=1))
        weights, state = run(replace(usual, **{key: value}))
        shape = [sorted(row) for row in state.history]
        assert weights != base[0] or shape != [sorted(row) for row in base[1].history], key


def test_the_temperature_falls_with_the_catalogue_unless_it_is_set() -> None:
    assert [round(temperature_for(size), 3) for size in (1, 3_000, 40_981, 10**6)] == [0.2, 0.2, 0.1, 0.05]
    graph, val = problem()
    model = MODELS["lightgcn"][0](MODELS["lightgcn"][1](dim=8), graph, torch.Generator())
    assert Trainer(model, graph, val, QUICK).temperature == 0.2
    assert Trainer(model, graph, val, replace(QUICK, temperature=0.3)).temperature == 0.3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", "mse"),
        ("precision", "float16"),
        ("metric", "ndcg"),
        ("metric", "auc@20"),
        ("metric", "ndcg@0"),
        ("batch_size", 0),
        ("max_steps", 0),
        ("shared_negatives", 0),
        ("whole_catalogue", -1),
        ("epochs", -1),
        ("negatives", -1),
        ("minutes", -1.0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("learning_rate", float("nan")),
    ],
)
def test_settings_out_of_range_are_one_clear_line(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"train\.{key}: found '?{value}'?; allowed: \S+"):
        TrainConfig(**{key: value})


def test_a_long_log_has_larger_batches_instead_of_more_steps() -> None:
    graph, val = problem()
    num_rows = graph[INTERACTS].edge_index.shape[1]
    for max_steps, expected in ((400, 140), (3, 140), (2, -(-num_rows // 2)), (1, num_rows)):
        trainer = Trainer(start(graph), graph, val, replace(QUICK, max_steps=max_steps))
        assert trainer.batch_size == expected


def test_shared_negatives_estimate_the_softmax_over_the_catalogue() -> None:
    graph, val = problem()
    exact = Trainer(start(graph), graph, val, replace(QUICK, precision="float32"))
    few = replace(QUICK, precision="float32", whole_catalogue=1, shared_negatives=2000)
    sampled = Trainer(start(graph), graph, val, few)
    batch = torch.arange(100)
    with torch.no_grad():
        embeddings = exact.model(graph)
        estimates = torch.stack([sampled._loss(batch, embeddings) for _ in range(20)])
        assert estimates.std() > 0
        assert estimates.mean().item() == pytest.approx(exact._loss(batch, embeddings).item(), rel=0.01)
    losses = [row["loss"] for row in run(few)[1].history]
    assert losses[-1] < losses[0]
    assert run(few)[0] == run(few)[0]
