"""Embeddings made layer by layer in blocks are those of the whole graph, for every model that offers it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.fusion import FUSIONS
from gnnrec.graph import INTERACTS, GraphConfig, build_graph, operator
from gnnrec.models import MODELS, EmbeddingModel, base, embeddings_of, factors, layerwise, modality_blocks, model_scorer
from gnnrec.models.closed_forms import SPECTRUM
from gnnrec.models.ials import user_factors
from gnnrec.models.placement import fit_placement
from gnnrec.models.spectrum import fit_spectrum
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

USERS, ITEMS = 90, 130
ABLE = ("mf", "lightgcn", "xsimgcl", "modality_gnn")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are many of them, the last one not full."""
    monkeypatch.setattr(layerwise, "BLOCK_ROWS", 17)
    monkeypatch.setattr(modality_blocks, "BLOCK_ROWS", 17)
    monkeypatch.setattr(modality_blocks, "BLOCK_ITEMS", 11)
    monkeypatch.setattr(modality_blocks, "BLOCK_USERS", 13)


def graph_of(**settings: Any) -> HeteroData:
    """Some users and items without interactions, some items without a text, friends, users' own content."""
    random = np.random.default_rng(0)
    log = powerlaw(USERS - 5, ITEMS - 9, 700).interactions
    log = type(log)(log.user, log.item, USERS, ITEMS, log.timestamp)
    values = random.normal(size=(ITEMS, 6)).astype(np.float32)
    values[[3, 4, ITEMS - 1]] = np.nan
    users = random.normal(size=(USERS, 5)).astype(np.float32)
    users[7:] = np.nan
    items = {"text": from_array(values), "image": from_array(values[:, ::-1] + 0.1)}
    friends = np.array([[0, 1], [2, 5]], np.int32)
    return build_graph(log, items, {"text": from_array(users)}, friends, GraphConfig(**settings))


def model_of(name: str, graph: HeteroData, **settings: Any) -> EmbeddingModel:
    kind, config = MODELS[name]
    model: EmbeddingModel = kind(config(dim=8, **settings), graph, torch.Generator().manual_seed(0))
    return model.eval()


def assert_same(model: EmbeddingModel, graph: HeteroData) -> None:
    with torch.no_grad():
        whole, blocks = model(graph), model.in_blocks(graph)
    for left, right in zip(whole[:3], blocks[:3]):
        assert (left is None) == (right is None)
        if left is not None:
            torch.testing.assert_close(right, left, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("name", ["mf", "lightgcn"])
def test_tables_are_those_of_the_whole_graph(name: str, similarity: str) -> None:
    graph = graph_of()
    assert_same(model_of(name, graph, similarity=similarity), graph)


@pytest.mark.parametrize("layers", [1, 3])
def test_xsimgcl_and_its_layers(layers: int) -> None:
    graph = graph_of()
    assert_same(model_of("xsimgcl", graph, layers=layers), graph)


def test_sign_in_blocks() -> None:
    graph = graph_of(missing="drop")
    assert_same(model_of("sign", graph, hops=3), graph)


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *(({"fusion": name}, {}) for name in FUSIONS),
    ({"layers": 0, "recent": 0}, {}),
    ({"item_bias": True, "heads": 0}, {"missing": "drop"}),
    ({"similar": 0.0, "together": 0.0, "friend": 0.0}, {"missing": "zero"}),
    ({}, {"neighbors": 0, "together": 0, "friends": False}),
]


@pytest.mark.parametrize(("settings", "of_graph"), CASES)
def test_modality_gnn_in_blocks(settings: dict[str, Any], of_graph: dict[str, Any]) -> None:
    graph = graph_of(**of_graph)
    model = model_of("modality_gnn", graph, **settings)
    if model.bias is not None:
        torch.nn.init.normal_(model.bias)
    assert_same(model, graph)


def fitted_model(graph: HeteroData, **settings: Any) -> EmbeddingModel:
    """With factors, waves and places of new items."""
    model = model_of("modality_gnn", graph, **settings)
    chosen = factors.fit_factors(graph)[0]
    model.factor_items, model.factor_settings = chosen.item, torch.tensor([0.5, chosen.l2, chosen.confidence])
    waves = fit_spectrum(graph)
    assert waves is not None
    for name, part in zip(SPECTRUM, waves):
        model.register_buffer(name, part)
    assert model.appended_width == chosen.item.shape[1] + len(waves.values)
    with torch.no_grad():
        fitted = fit_placement(graph, model(graph))
    assert fitted is not None
    for name, part in zip(fitted._fields, fitted):
        model.register_buffer(f"placement_{name}", part)
    return model


def test_factors_waves_and_placement_in_blocks() -> None:
    graph = graph_of(missing="drop")
    assert_same(fitted_model(graph), graph)


@pytest.mark.parametrize("settings", [{}, {"recent": 0}, {"sequence": 4}])
def test_some_users_are_those_among_all(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of(missing="drop")
    model = fitted_model(graph, **settings)
    with torch.no_grad():
        whole = model(graph)
    solved: list[int] = []

    def watched(history: csr_array, *rest: Any) -> torch.Tensor:
        solved.append(history.shape[0])
        return user_factors(history, *rest)

    monkeypatch.setattr(factors, "user_factors", watched)
    for users in (slice(3, 4), slice(80, USERS)):
        with torch.no_grad():
            some = model.of_users(graph, users)
        torch.testing.assert_close(some.user, whole.user[users], atol=1e-6, rtol=1e-5)
        assert torch.equal(some.item, whole.item)
    assert solved == [1, 10]  # nobody else's factors


def test_a_block_of_an_operator_is_its_rows_to_the_bit() -> None:
    graph = graph_of()
    whole, x = operator(graph, INTERACTS, "symmetric"), torch.randn(USERS, 8)
    product = whole @ x
    parts = [whole.block(slice(first, first + 17)) @ x for first in range(0, ITEMS, 17)]
    assert torch.equal(torch.cat(parts), product)
    assert whole.block(slice(17, 34)).columns.data_ptr() == whole.columns[int(whole.offsets[17]) :].data_ptr()


def in_a_scratch_file(table: torch.Tensor) -> bool:
    """By the kernel's list of mapped files: those without a name count as deleted."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= table.data_ptr() < last:
            return line.endswith("(deleted)")
    return False


def test_large_tables_are_made_in_blocks_and_small_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graph_of()
    model = model_of("lightgcn", graph)
    small = embeddings_of(model, graph)
    monkeypatch.setattr(base, "TABLE_BYTES", 4 * 8 * (USERS + ITEMS) - 1)
    large = embeddings_of(model, graph)
    assert in_a_scratch_file(large.user) and not in_a_scratch_file(small.user)
    torch.testing.assert_close(large.user, small.user)
    users = torch.arange(5)
    torch.testing.assert_close(model_scorer(model, graph)(users), small.user[:5] @ small.item.T)


@pytest.mark.parametrize("name", ["lightgcn", "modality_gnn"])
def test_a_run_in_blocks_is_the_same_run(
    name: str, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on pieces, saved, evaluated: by whole tables and by blocks."""
    recipe = load_recipe(overrides=[f"model.name={name}", "train.epochs=2", "model.dim=8", "train.sampling=neighbours"])
    found: list[Run] = []
    for limit in (base.TABLE_BYTES, 0):
        monkeypatch.setattr(base, "TABLE_BYTES", limit)
        found.append(train(Dataset.load(tiny_data), tmp_path / str(limit), recipe))
        found[-1].model  # noqa: B018
    whole, blocks = found
    np.testing.assert_allclose(blocks.user_vectors, whole.user_vectors, atol=1e-5)
    np.testing.assert_allclose(blocks.item_vectors, whole.item_vectors, atol=1e-5)
    assert evaluate(blocks).metrics == pytest.approx(evaluate(whole).metrics)
