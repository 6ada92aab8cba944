"""What is made of a long log in scratch files: the same numbers, and in files indeed."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gnnrec import scratch
from gnnrec.datasets import Dataset, Interactions
from gnnrec.graph import INTERACTS, REV_INTERACTS, GraphConfig, build_graph, interactions_of, operator
from gnnrec.models import MODELS
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.sampling import long_log
from gnnrec.subgraph import sampler_of
from gnnrec.training import TrainConfig, Trainer

USERS, ITEMS, ROWS = 50, 31, 600


@pytest.fixture
def scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch files lie in a test, so that they are known by it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))  # what it found before is kept there
    return folder


def is_mapped(array: NDArray[Any], folder: Path) -> bool:
    """Whether the memory of the array belongs to a file that was made in the folder."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(bound, 16) for bound in line.split()[0].split("-"))
        if first <= address < last:
            return str(folder) in line
    return False


def log_of() -> Interactions:
    """Every pair about twice on average for some, ties in time; user 7 and item 5 have nothing."""
    random = np.random.default_rng(0)
    user, item = (USERS * random.random(ROWS) ** 2).astype(np.int32), random.integers(0, ITEMS, ROWS).astype(np.int32)
    user[user == 7], item[item == 5] = 8, 6
    time = np.sort(random.integers(0, 90, ROWS))
    return Interactions(user=user, item=item, num_users=USERS, num_items=ITEMS, timestamp=time)


def test_matrix_and_operators_are_those_of_short_logs(scratch_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, kinds = log_of(), ("symmetric", "mean", "none")
    monkeypatch.setattr(long_log, "BLOCK", 7)
    found: list[Any] = []
    for large in (ROWS + 1, ROWS):
        monkeypatch.setattr(scratch, "LARGE_LOG", large)
        graph = build_graph(log, {}, config=GraphConfig(together=0))
        made = {(kind, how): operator(graph, kind, how) for kind in (INTERACTS, REV_INTERACTS) for how in kinds}
        found.append((graph, log.matrix(), made, interactions_of(graph), log.rows(np.arange(ROWS))))
    (short, matrix, operators, back, _), (graph, long, mapped, long_back, taken) = found
    assert (long != matrix).nnz == 0 and long.shape == matrix.shape and long.has_canonical_format
    for key, made in mapped.items():
        for part in ("offsets", "columns", "values"):
            assert torch.equal(getattr(made, part), getattr(operators[key], part)), (key, part)
    assert torch.equal(graph[INTERACTS].edge_index, short[INTERACTS].edge_index)
    for one in (back, long_back, taken):
        for name in ("user", "item", "timestamp"):
            assert np.array_equal(getattr(one, name), getattr(log, name))
    operators_of = [made for part in mapped.values() for made in (part.columns.numpy(), part.values.numpy())]
    edges = [
        graph[INTERACTS].edge_index.numpy(),
        graph[INTERACTS].time.numpy(),
        graph[REV_INTERACTS].edge_index.numpy(),
    ]
    logs = [long_back.user, long_back.item, taken.user, taken.timestamp]
    for array in (*operators_of, *edges, *logs, long.data, long.indices):
        assert is_mapped(array, scratch_folder)
    assert not is_mapped(short[INTERACTS].edge_index.numpy(), scratch_folder)
    assert not list(scratch_folder.iterdir())  # they have no names


def test_rows_of_a_mask_are_taken_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    log, mask = log_of(), np.random.default_rng(1).random(ROWS) < 0.4
    monkeypatch.setattr(scratch, "LARGE_LOG", 1)
    monkeypatch.setattr("gnnrec.datasets.interactions.ROWS_AT_ONCE", 64)
    for select in (mask, np.flatnonzero(mask), np.zeros(ROWS, bool)):
        found = log.rows(select)
        assert np.array_equal(found.user, log.user[select]) and np.array_equal(found.timestamp, log.timestamp[select])


@pytest.mark.parametrize("importance", ["uniform", "visits"])
def test_pieces_of_files_are_those_of_memory(
    importance: str, scratch_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = build_graph(log_of(), {}, config=GraphConfig(together=0))
    samplers = []
    for large in (ROWS + 1, 1):
        monkeypatch.setattr(scratch, "LARGE_LOG", large)
        samplers.append(sampler_of(graph, (3, 2)))
        samplers[-1].importance = importance
    memory, files = samplers
    for relation in (files.to_user, files.to_item):
        assert is_mapped(relation.csr.columns, scratch_folder) and is_mapped(relation.csr.time, scratch_folder)
    assert not is_mapped(memory.to_user.csr.columns, scratch_folder)
    for before in (None, 60):
        users, items = np.array([0, 3, 7, 41]), np.array([5, 2, 30])
        first, second = (sampler.piece(users, items, np.random.default_rng(4), before) for sampler in samplers)
        assert first.num_edges == second.num_edges > 10
        for kind in (INTERACTS, REV_INTERACTS):
            one, two = (piece.graph[kind].sampled for piece in (first, second))
            for part in ("offsets", "columns", "weight", "row_degree", "column_degree"):
                assert torch.equal(getattr(one, part), getattr(two, part)), part
        assert torch.equal(first.graph["item"].n_id, second.graph["item"].n_id)


def test_own_candidates_are_the_same_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which negatives are drawn; against all users at once and against the naive count."""
    graph = build_graph(log_of(), {}, config=GraphConfig(together=0))
    kind, config = MODELS["lightgcn"]
    trainers = []
    for large, at_once in ((ROWS + 1, 2**23), (1, 50)):
        monkeypatch.setattr(scratch, "LARGE_LOG", large)
        monkeypatch.setattr("gnnrec.datasets.interactions.ROWS_AT_ONCE", at_once)
        model = kind(config(dim=4), graph, torch.Generator().manual_seed(0))
        trainers.append(Trainer(model, graph, log_of().rows(slice(0, 0)), TrainConfig(loss="bpr", negatives=2)))
    whole, blocks = trainers
    assert torch.equal(whole.own_gaps, blocks.own_gaps) and torch.equal(whole.num_own, blocks.num_own)
    log = log_of()
    assert blocks.num_own.tolist() == [len(set(log.item[log.user == user].tolist())) for user in range(USERS)]


@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        ("lightgcn_softmax", ["model.start=random"]),
        ("lightgcn", ["train.epochs=5", "train.validate_every=5"]),
        (
            "lightgcn_softmax",
            ["model.start=random", "train.sampling=temporal", "graph.together=0", "train.tables=mapped"],
        ),
        ("default", ["model.factors=false", "graph.together_by=visits"]),
    ],
    ids=["softmax", "bpr", "temporal, mapped", "modality_gnn"],
)
def test_a_training_on_files_ends_with_the_same_run(
    recipe: str, settings: list[str], tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's own way from the dataset to the run: weights, embeddings and figures bit for bit."""
    overrides = ["train.sampling=neighbours", "train.fanout=3", "train.epochs=2", "train.batch_size=100", "model.dim=8"]
    runs = []
    for large in (10**9, 1):
        monkeypatch.setattr(scratch, "LARGE_LOG", large)
        loaded = load_recipe(recipe, [*overrides, *settings])
        runs.append(train(Dataset.load(tiny_data), tmp_path / str(large), loaded))
    memory, files = runs
    for name, value in memory.model.state_dict().items():
        assert torch.equal(value, files.model.state_dict()[name]), name
    assert torch.equal(memory.embeddings.item, files.embeddings.item)
    assert memory.metrics == files.metrics and np.array_equal(memory.train.user, files.train.user)
