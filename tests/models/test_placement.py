"""Where items that nobody took are put: where a regression done naively says, by the modality that decides."""

import numpy as np
import torch

from gnnrec.datasets import Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.graph import GraphConfig, add_items, build_graph, interactions_of, item_modalities, with_interactions
from gnnrec.models import Embeddings
from gnnrec.models.ials import item_factors, user_factors
from gnnrec.models.placement import (
    PENALTIES,
    choose_scales,
    content_blocks,
    fit_placement,
    leave_one_out,
    placed,
)
from gnnrec.removal import without_content


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
    blocks, _ = content_blocks(graph)
    (audio, image, text), penalty = choose_scales(embeddings, blocks, torch.from_numpy(np.flatnonzero(~cold)))
    assert text > 3 * audio and text > 3 * image
    assert penalty in PENALTIES


def test_cold_items_are_ranked_by_their_content():
    """Users take things of one cluster of eight, so by chance an eighth of them would take the first item."""
    graph, embeddings, cold, test = world()
    got = placed(graph, embeddings, fit_placement(graph, embeddings))
    wanted = test[:, cold].toarray() > 0
    first = (got.user @ got.item[cold].T).argmax(1, keepdim=True).numpy()
    assert np.take_along_axis(wanted, first, 1)[wanted.any(1)].mean() > 0.6


def test_the_rows_are_those_of_a_regression_done_naively():
    graph, embeddings, cold, _ = world()
    blocks, _ = content_blocks(graph)
    scales, penalty = choose_scales(embeddings, blocks, torch.from_numpy(np.flatnonzero(~cold)))
    x = np.concatenate([block.numpy() * scale for block, scale in zip(blocks, scales)], axis=1).astype(np.float64)
    y = embeddings.item.numpy()[~cold].astype(np.float64)
    dual = np.linalg.solve(x[~cold] @ x[~cold].T + penalty * np.eye(len(y)), y - y.mean(0))
    got = placed(graph, embeddings, fit_placement(graph, embeddings)).item
    np.testing.assert_allclose(got[cold], x[cold] @ x[~cold].T @ dual + y.mean(0), atol=1e-4)
    assert torch.equal(got[~cold], embeddings.item[~cold])  # whoever was taken stays


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


def test_what_was_filled_in_from_other_items_is_no_content():
    graph, *_ = world()
    graph["text"].imputed[0] = True
    blocks, _ = content_blocks(graph)
    assert not blocks[2][0].any() and blocks[0][0].any()


def test_items_that_join_later_are_placed():
    graph, embeddings, *_ = world()
    placement = fit_placement(graph, embeddings)
    raw = graph["text"].x[-1] * graph["text"].scale + graph["text"].mean
    grown = add_items(graph, {"text": raw[None].numpy()}, GraphConfig())
    more = torch.cat([embeddings.item, torch.zeros(1, embeddings.item.shape[1])])
    blocks, _ = content_blocks(graph)
    own = torch.cat([torch.zeros_like(blocks[0][-1]), torch.zeros_like(blocks[1][-1]), blocks[2][-1]])
    expected = own @ placement.weights + placement.mean
    torch.testing.assert_close(placed(grown, embeddings._replace(item=more), placement).item[-1], expected)


def test_too_few_items_teach_nothing():
    dataset = planted("text", num_users=80, num_items=60)
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    graph = build_graph(split(dataset).train, features)
    assert fit_placement(graph, Embeddings(torch.randn(80, 4), torch.randn(60, 4))) is None
