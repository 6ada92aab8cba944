"""Attention over the last items: against loops, and what a query may see."""

import numpy as np
import pytest
import torch

from gnnrec.datasets import powerlaw
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, build_graph
from gnnrec.models.interest import ShortTermInterest
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig

DIM = 8


def test_it_is_what_loops_make_it() -> None:
    random = torch.Generator().manual_seed(0)
    interest = ShortTermInterest(DIM, 3, 2, 1.0, random)
    context, halving = torch.randn(5, DIM, generator=random), torch.tensor([1.0, 0.5, 0.25])
    items = torch.tensor([[4, 1, 2], [3, 3, 0], [0, 0, 0]])
    there = torch.tensor([[True, True, True], [True, True, False], [False, False, False]])
    with torch.no_grad():
        interest.bias += torch.randn(2, 3, generator=random)
        found = interest(context, items, there)
        for user in (0, 1):
            heard = []
            for head in (0, 1):
                part = slice(head * DIM // 2, (head + 1) * DIM // 2)
                query = interest.query[part] @ context[items[user, 0]]
                weights, values = [], []
                for lag in range(int(there[user].sum())):
                    vector = context[items[user, lag]]
                    score = query @ (interest.key[part] @ vector) / (DIM // 2) ** 0.5 + interest.bias[head, lag]
                    weights.append(score.exp())
                    values.append(interest.value[part] @ vector)
                heard.append(sum(w * v for w, v in zip(weights, values)) / sum(weights))
            recency = halving * there[user]
            mean = (recency / recency.sum()) @ context[items[user]]
            expected = mean + interest.heard @ torch.cat(heard)
            torch.testing.assert_close(found[user], expected / expected.norm())
    assert found[2].eq(0).all()  # who has no items has no short-term interest


def test_its_places_start_with_the_half_life() -> None:
    bias = ShortTermInterest(4, 5, 2, 2.0, torch.Generator().manual_seed(0)).bias
    torch.testing.assert_close(bias.exp()[1], torch.tensor([1.0, 0.5**0.5, 0.5, 0.5**1.5, 0.25]))


@torch.no_grad()
def test_the_query_of_an_interaction_is_the_user_whose_history_ends_there() -> None:
    log = powerlaw(12, 40, 90, seed=2).interactions
    graph = build_graph(log, {})
    model = ModalityGNN(ModalityGNNConfig(dim=DIM, recent=4), graph, torch.Generator().manual_seed(0))
    embeddings = model(graph)
    everything = torch.arange(graph[INTERACTS].num_edges)
    queries = model.queries(graph, model.training_pass(graph, torch.Generator()), everything)[
        :, DIM:
    ]  # the short-term part
    for row in range(len(log)):
        before = np.flatnonzero(log.user[:row] == log.user[row])[-4:]
        items = torch.from_numpy(log.item[before][::-1].astype(np.int64))
        if not len(items):
            assert queries[row].eq(0).all()
            continue
        padded = torch.nn.functional.pad(items, (0, 4 - len(items)))[None]
        expected = model.interest(embeddings.context, padded, torch.arange(4)[None] < len(items))
        torch.testing.assert_close(queries[row : row + 1], expected)


def test_without_heads_it_is_the_mean_alone() -> None:
    context = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    mean = ShortTermInterest(2, 3, 0, 1.0, torch.Generator())
    found = mean(
        context, torch.tensor([[0, 1, 0], [1, 0, 0]]), torch.tensor([[True, True, False], [True, False, False]])
    )
    torch.testing.assert_close(found, torch.tensor([[6.0, 4.0], [0.0, 1.0]]) / torch.tensor([[52.0**0.5], [1.0]]))
    assert not list(mean.parameters())


def test_heads_have_to_divide_the_dimensions() -> None:
    with pytest.raises(UserError, match=r"model.heads: found 3; allowed: 0, or a divisor of model.dim \(8\)"):
        ModalityGNNConfig(dim=8, heads=3)
