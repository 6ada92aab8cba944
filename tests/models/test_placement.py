"""Where items that nobody took are put: where a regression done naively says, by the modality that decides."""

import shutil
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.graph import GraphConfig, build_graph, interactions_of, item_modalities, owners, with_interactions
from gnnrec.graph_growth import add_items
from gnnrec.models import Embeddings
from gnnrec.models import placement as placement_module
from gnnrec.models.ials import item_factors, user_factors
from gnnrec.models.placement import (
    PENALTIES,
    choose_weights,
    contents,
    fit_placement,
    kernel,
    leave_one_out,
    leave_one_out_error,
    placed,
    sets_of,
    weighted,
)
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.removal import without_content, without_modality
from gnnrec.run_folder import Run


def world():
    """A graph in which a fifth of the items has no interaction, iALS as its embeddings, which items these are, and who
    will take them. Text decides who takes what."""
    dataset = planted("text", num_users=300, num_items=180)
    parts = split(dataset)
    log = parts.train
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    graph = build_graph(log, features)
    item = item_factors(log.matrix(), 16, 10.0, 5.0, 10, 0)
    cold = np.bincount(log.item, minlength=log.num_items) == 0
    return graph, Embeddings(user_factors(log.matrix(), item, 10.0, 5.0), item), cold, parts.test.matrix()


def test_leave_one_out_is_the_regression_without_each_item():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 4)), random.normal(size=(12, 3))
    mean = y.mean(0)
    for penalty, foretold in leave_one_out(torch.from_numpy(x @ x.T), torch.from_numpy(y)):
        for left in range(12):
            rest = np.arange(12) != left
            weights = np.linalg.solve(x[rest].T @ x[rest] + penalty * np.eye(4), x[rest].T @ (y[rest] - mean))
            np.testing.assert_allclose(foretold[left], x[left] @ weights + mean, atol=1e-9)


def test_the_modality_that_decides_weighs_most():
    graph, embeddings, cold, _ = world()
    warm = torch.from_numpy(np.flatnonzero(~cold))
    parts = of_modalities(graph, warm)
    audio, image, text = weights = choose_weights(embeddings, warm, parts)
    assert text >= 10 * audio and text >= 10 * image
    error, penalty = leave_one_out_error(embeddings, warm, weighted(parts, weights))
    assert penalty in PENALTIES and error < leave_one_out_error(embeddings, warm, weighted(parts, [1.0, 1.0, 1.0]))[0]


def test_content_that_a_model_put_into_its_rows_does_not_speak_for_itself():
    """Rows of log and picture, of which the picture makes the most: judged by these rows it would weigh most, though
    it says nothing of what users take."""
    graph, factors, cold, _ = world()
    pictures = 5 * torch.nn.functional.normalize(graph["image"].x, dim=1)
    users = torch.cat([factors.user, factors.user.std() * torch.ones(len(factors.user), pictures.shape[1])], dim=1)
    rows = Embeddings(users, torch.cat([factors.item, pictures], dim=1))
    warm = torch.from_numpy(np.flatnonzero(~cold))
    audio, image, text = choose_weights(rows, warm, of_modalities(graph, warm))
    assert image > text
    audio, image, text = fit_placement(graph, rows, factors).weights[0].tolist()
    assert text >= 10 * audio and text >= 10 * image


def of_modalities(graph: HeteroData, items: torch.Tensor) -> list[torch.Tensor]:
    return [kernel(graph, modality, items, items) for modality in item_modalities(graph)]


def naive_kernel(graph: HeteroData, weights: Sequence[float], first: NDArray, second: NDArray) -> NDArray:
    total = np.zeros((len(first), len(second)))
    for weight, modality in zip(np.asarray(weights), item_modalities(graph)):
        if not weight:
            continue
        x = np.full((graph["item"].num_nodes, graph[modality].x.shape[1]), np.nan)
        x[owners(graph, modality)] = graph[modality].x
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        total += weight * np.nan_to_num(np.exp(-np.square(x[first][:, None] - x[second][None]).sum(2)))
    return total


def test_cold_items_are_ranked_by_their_content():
    """Users take things of one cluster of eight, so by chance an eighth of them would take the first item."""
    graph, embeddings, cold, test = world()
    got = placed(graph, embeddings, fit_placement(graph, embeddings))
    wanted = test[:, cold].toarray() > 0
    first = (got.user @ got.item[cold].T).argmax(1, keepdim=True).numpy()
    assert np.take_along_axis(wanted, first, 1)[wanted.any(1)].mean() > 0.6


def test_the_rows_are_those_of_a_regression_done_naively():
    """Of each item by the modalities that it has: one of the cold ones lost its text, one all but its sound; one that
    was taken lost its picture, which counts nothing in its kernel then."""
    graph, embeddings, cold, _ = world()
    old, new = np.flatnonzero(~cold), np.flatnonzero(cold)
    for modality, item in (("text", new[0]), ("text", new[1]), ("image", new[1]), ("image", old[0])):
        graph = without_content(graph, modality, item)
    placement = fit_placement(graph, embeddings)
    assert [tuple((row > 0).tolist()) for row in placement.weights] == [  # audio, image, text
        *((True, True, True), (True, True, False), (True, False, True), (False, True, True)),
        *((True, False, False), (False, True, False), (False, False, True)),
    ]
    got = placed(graph, embeddings, placement).item
    y = embeddings.item.numpy()[old].astype(np.float64)
    for place, items in ((0, new[2:]), (1, new[:1]), (4, new[1:2])):
        marks = placement.landmarks[placement.offsets[place] : placement.offsets[place + 1]]
        assert torch.equal(marks.sort().values, torch.from_numpy(old))
        chosen = placement.weights[place].double()
        parts = [part for part, weight in zip(of_modalities(graph, marks), chosen) if weight]
        weights = choose_weights(embeddings, marks, parts)
        _, penalty = leave_one_out_error(embeddings, marks, weighted(parts, weights))
        torch.testing.assert_close(chosen[chosen > 0], torch.tensor(weights).double(), rtol=1e-6, atol=0)
        among = naive_kernel(graph, chosen, old, old) + penalty * np.eye(len(y))
        expected = naive_kernel(graph, chosen, items, old) @ np.linalg.solve(among, y - y.mean(0)) + y.mean(0)
        np.testing.assert_allclose(got[items], expected, atol=1e-4)
    assert torch.equal(got[old], embeddings.item[old])  # whoever was taken stays


def test_landmarks_stand_for_all_items(monkeypatch):
    """Fewer landmarks than items: argmin |y - K a|^2 + l a' K_LL a, by a general least-squares solver."""
    graph, embeddings, cold, _ = world()
    monkeypatch.setattr(placement_module, "LANDMARKS", 50)
    placement = fit_placement(graph, embeddings)
    old, marks, new = np.flatnonzero(~cold), placement.landmarks[:50].numpy(), np.flatnonzero(cold)
    assert placement.offsets[1] == 50 and np.isin(marks, old).all()
    weights = placement.weights[0].double().tolist()
    order = torch.Generator().manual_seed(0)
    everybody = torch.from_numpy(old)[torch.randperm(len(old), generator=order)]
    kernels = weighted(of_modalities(graph, everybody), weights)
    _, penalty = leave_one_out_error(embeddings, everybody, kernels)
    y = embeddings.item.numpy()[old].astype(np.float64)
    root = np.linalg.cholesky(naive_kernel(graph, weights, marks, marks) + 1e-10 * np.eye(50)).T
    left = np.concatenate([naive_kernel(graph, weights, old, marks), penalty**0.5 * root])
    right = np.concatenate([y - y.mean(0), np.zeros((50, y.shape[1]))])
    expected = naive_kernel(graph, weights, new, marks) @ np.linalg.lstsq(left, right)[0] + y.mean(0)
    np.testing.assert_allclose(placed(graph, embeddings, placement).item[new], expected, atol=1e-4)


def test_an_item_that_somebody_took_since_stays_and_one_without_content_too():
    graph, embeddings, cold, _ = world()
    placement = fit_placement(graph, embeddings)
    first, *others = np.flatnonzero(cold)
    log = interactions_of(graph)
    sizes = {"num_users": log.num_users, "num_items": log.num_items}
    taken = Interactions(user=np.append(log.user, 0), item=np.append(log.item, first).astype(np.int32), **sizes)
    got = placed(with_interactions(graph, taken), embeddings, placement).item
    assert torch.equal(got[first], embeddings.item[first])
    assert not torch.isclose(got[others], embeddings.item[others]).all(1).any()
    for modality in item_modalities(graph):
        graph = without_content(graph, modality, first)
    assert torch.equal(placed(graph, embeddings, placement).item[first], embeddings.item[first])


def test_where_a_modality_is_taken_from_all_items_the_others_place_them():
    graph, embeddings, cold, _ = world()
    placement = fit_placement(graph, embeddings)
    text = item_modalities(graph).index("text")
    left = placed(without_modality(graph, "text"), embeddings, placement).item
    one_by_one = graph
    for item in range(len(cold)):
        one_by_one = without_content(one_by_one, "text", item)
    assert torch.equal(left, placed(one_by_one, embeddings, placement).item)
    assert contents(without_modality(graph, "text"))[:, text].sum() == 0
    assert not torch.equal(left[cold], embeddings.item[cold])
    assert not torch.allclose(left[cold], placed(graph, embeddings, placement).item[cold])


def test_what_was_filled_in_from_other_items_is_no_content():
    graph, *_ = world()
    graph["text"].imputed[0] = True
    there = contents(graph)
    assert there[0].tolist() == [True, True, False] and there[1:].all()


def test_items_that_join_later_are_placed():
    graph, embeddings, *_ = world()
    placement = fit_placement(graph, embeddings)
    raw = graph["text"].x[-1] * graph["text"].scale + graph["text"].mean
    grown = add_items(graph, {"text": raw[None].numpy()}, GraphConfig())
    more = torch.cat([embeddings.item, torch.zeros(1, embeddings.item.shape[1])])
    got = placed(grown, embeddings._replace(item=more), placement).item[-1]
    part = slice(*placement.offsets[6:8].tolist())  # text alone, the last of the sets
    text = naive_kernel(
        graph, placement.weights[6].double(), np.array([len(more) - 2]), placement.landmarks[part].numpy()
    )
    expected = torch.from_numpy(text).float() @ placement.coefficients[part] + placement.means[6]
    torch.testing.assert_close(got, expected[0], rtol=1e-3, atol=1e-4)


def test_of_many_modalities_only_all_together_and_each_alone_are_fitted():
    assert sets_of(0) == [] and sets_of(1) == [(0,)] and sets_of(2) == [(0, 1), (0,), (1,)]
    assert sets_of(5) == [(0, 1, 2, 3, 4), (0,), (1,), (2,), (3,), (4,)]


def test_too_few_items_teach_nothing():
    dataset = planted("text", num_users=80, num_items=60)
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    graph = build_graph(split(dataset).train, features)
    assert fit_placement(graph, Embeddings(torch.randn(80, 4), torch.randn(60, 4))) is None


def test_a_run_places_items_where_it_shall_and_keeps_it(tmp_path):
    dataset = planted("text", num_users=150, num_items=150)
    recipe = load_recipe(
        overrides=["train.epochs=2", "model.dim=8", "model.heads=2", "model.paths=false", "model.spectrum=false"]
    )
    run = train(dataset, tmp_path / "placed", recipe)
    plain = train(dataset, tmp_path / "plain", replace(recipe, model=replace(recipe.model, placement=False)))
    cold = torch.from_numpy(np.bincount(run.train.item, minlength=150) == 0)
    with torch.no_grad():
        got, without = run.model(run.graph).item, plain.model(plain.graph).item
        assert torch.equal(Run.load(run.folder).model(run.graph).item, got)
    assert torch.equal(got[~cold], without[~cold])
    assert not torch.isclose(got[cold], without[cold]).all(1).any()


def test_a_run_from_before_there_was_placement_loads_without_it(planted_run: Run, tmp_path):
    folder = shutil.copytree(planted_run.folder, tmp_path / "old")
    weights = load_file(folder / "weights.safetensors")
    names = [name for name in weights if name.startswith("placement_")]
    assert len(names) == 5
    save_file({name: part for name, part in weights.items() if name not in names}, folder / "weights.safetensors")
    with torch.no_grad():
        old, new = (run.model(run.graph).item for run in (Run.load(folder), planted_run))
    warm = np.bincount(planted_run.train.item, minlength=len(new)) > 0
    assert torch.equal(old[warm], new[warm])
