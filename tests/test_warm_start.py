"""A model that starts from another's weights: the same lists for the same data, neighbours' means for who is new."""

from typing import Any

import numpy as np
import pytest
import torch

from gnnrec.datasets import Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import build_graph
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.warm_start import WarmStart, moved, places

GRADIENT = [name for name, (kind, _) in MODELS.items() if issubclass(kind, EmbeddingModel)]


def start_of(model: EmbeddingModel, log: Interactions, users: np.ndarray, items: np.ndarray) -> WarmStart:
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    return WarmStart(origin="it", weights=weights, users=users, items=items, train=log, val=log)


@pytest.mark.parametrize("name", GRADIENT)
def test_the_same_data_under_other_indexes_gives_the_same_scores(name: str) -> None:
    """Every model: no table of free embeddings is overlooked, none is taken for another's."""
    made = planted("text", num_users=37, num_items=41)
    log = split(made).train
    time = np.arange(len(log))
    log = Interactions(log.user, log.item, log.num_users, log.num_items, time)
    random = np.random.default_rng(0)
    users, items = random.permutation(37), random.permutation(41)  # where each new index was before
    kind, config = MODELS[name]

    def model_of(log: Interactions, order: Any, seed: int) -> tuple[EmbeddingModel, Any]:
        features = {key: from_array(values[order]) for key, values in made.item_features.items()}
        graph = build_graph(log, features)
        model = kind(config(), graph, torch.Generator().manual_seed(seed))
        model.eval()
        return model, graph

    old, graph = model_of(log, slice(None), 0)
    turned = moved(log, users, items)
    new, other = model_of(turned, items, 1)
    start_of(old, turned, users, items).apply(new, other)
    with torch.no_grad():
        before, after = old(graph), new(other)
    expected = (before.user @ before.item.T)[users][:, items]
    torch.testing.assert_close(after.user @ after.item.T, expected, rtol=1e-3, atol=1e-4)


def test_a_new_row_stands_where_its_neighbours_do() -> None:
    user = np.array([0, 0, 1, 1, 2, 2], dtype=np.int32)
    item = np.array([0, 1, 1, 2, 2, 3], dtype=np.int32)  # item 3 and user 2 are new; item 4 and user 3 have nobody
    log = Interactions(user, item, 4, 5)
    graph = build_graph(log, {})
    old = LightGCN(LightGCNConfig(dim=3), build_graph(Interactions(user[:4], item[:4], 2, 3), {}), torch.Generator())
    model = LightGCN(LightGCNConfig(dim=3), graph, torch.Generator().manual_seed(1))
    drawn = model.item[4].detach().clone()
    start_of(old, log, np.array([0, 1, -1, -1]), np.array([0, 1, 2, -1, -1])).apply(model, graph)
    u, i = (table.detach() for table in (old.user, old.item))
    mean_length = i.norm(dim=1).mean()
    expected = i[2] / i[2].norm() * mean_length  # user 2 alone had item 3, and of the old items she had item 2
    torch.testing.assert_close(model.item[3].detach(), expected)
    # Items of user 2: item 2, whose known user is user 1; item 3, which none has.
    torch.testing.assert_close(model.user[2].detach(), u[1] / u[1].norm() * u.norm(dim=1).mean())
    assert torch.equal(model.item[:3].detach(), i) and torch.equal(model.item[4].detach(), drawn)


def test_another_shape_is_refused() -> None:
    log = Interactions(np.array([0], np.int32), np.array([0], np.int32), 1, 1)
    graph = build_graph(log, {})
    old = LightGCN(LightGCNConfig(dim=3), graph, torch.Generator())
    new = LightGCN(LightGCNConfig(dim=4), graph, torch.Generator())
    with pytest.raises(UserError, match=r"user: found \[1, 4\], the run that it starts from has \[1, 3\]"):
        start_of(old, log, np.array([0]), np.array([0])).apply(new, graph)


def test_places_are_those_of_the_ids() -> None:
    np.testing.assert_array_equal(places(["b", "x", "a"], ["a", "b"]), [1, -1, 0])
