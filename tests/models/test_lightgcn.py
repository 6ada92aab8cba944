"""LightGCN against the dense formula on three nodes, and the reach of its gradient."""

import dataclasses

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.graph import build_graph
from gnnrec.models import MODELS, EmbeddingModel


def model_of(
    pairs: list[tuple[int, int]], num_users: int, num_items: int, name: str = "lightgcn", **settings: object
) -> tuple[EmbeddingModel, HeteroData]:
    user, item = np.array(pairs, np.int32).T
    log = Interactions(user=user.copy(), item=item.copy(), num_users=num_users, num_items=num_items)
    graph = build_graph(log, {})
    kind, config = MODELS[name]
    model: EmbeddingModel = kind(config(dim=4, **settings), graph, torch.Generator().manual_seed(0))
    return model, graph


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_equals_the_dense_formula_on_three_nodes(layers: int) -> None:
    # Two users and one item: u0 and u1 both took it.
    model, graph = model_of([(0, 0), (1, 0)], 2, 1, layers=layers, similarity="dot")
    weight = 1 / np.sqrt(2)  # degree 1 of a user times degree 2 of the item, to the power -1/2
    adjacency = np.array([[0, 0, weight], [0, 0, weight], [weight, weight, 0]])
    x = np.concatenate([model.user.detach().numpy(), model.item.detach().numpy()])
    depths = [np.linalg.matrix_power(adjacency, depth) @ x for depth in range(layers + 1)]
    expected = sum(depths) / (layers + 1)
    user, item, *_ = model(graph)
    np.testing.assert_allclose(user.detach(), expected[:2], atol=1e-6)
    np.testing.assert_allclose(item.detach(), expected[2:], atol=1e-6)
    cosine, graph = model_of([(0, 0), (1, 0)], 2, 1, layers=layers)
    lengths = np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(torch.cat(cosine(graph)[:2]).detach(), expected / lengths, atol=1e-6)


@pytest.mark.parametrize("name", ["lightgcn", "modality_gnn"])
def test_a_gradient_reaches_as_far_as_messages_do(name: str) -> None:
    # u0 and u1 share item 0; u2 shares item 1 with u1: two hops and four; u3 is apart.
    pairs = [(0, 0), (1, 0), (1, 1), (2, 1), (3, 2)]
    reached = {}
    for layers in (1, 2, 4):
        model, graph = model_of(pairs, 4, 3, name, layers=layers)
        gradient = torch.autograd.grad(model(graph).user[0].sum(), model.user)[0]
        reached[layers] = gradient.abs().sum(1).gt(1e-9).tolist()
    assert reached == {1: [True, False, False, False], 2: [True, True, False, False], 4: [True, True, True, False]}


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODELS["lightgcn"][1]().dim = 3
