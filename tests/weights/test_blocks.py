"""Embeddings and lists made in blocks of rows are those of the whole."""

import sys
from pathlib import Path

import pytest
import torch

import gnnrec.weights.blocks
from gnnrec.graph import interactions_of
from gnnrec.ranking import embedding_scorer, top_k
from gnnrec.weights.blocks import Rows, rank_in_blocks, smoothed
from gnnrec.workers import Workers

sys.path.insert(0, str(Path(__file__).parent))
from problem import model_of, problem


@pytest.mark.parametrize("name", ["mf", "lightgcn", "xsimgcl"])
def test_embeddings_in_blocks_are_those_of_the_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnnrec.weights.blocks, "BLOCK", 7)
    graph, _ = problem()
    model = model_of(name, graph)
    smoothing = model.smoothing()
    assert smoothing is not None
    tables = [model.get_parameter(side).detach().clone() for side in ("user", "item")]
    user, item = (Rows(table, len(table), Workers()) for table in tables)
    found = smoothed(graph, user, item, smoothing, torch.empty_like)
    with torch.no_grad():
        expected = model(graph)
    torch.testing.assert_close(found[0].here, expected.user, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(found[1].here, expected.item, rtol=1e-6, atol=1e-7)
    assert torch.equal(user.here, model.get_parameter("user")) and torch.equal(item.here, model.get_parameter("item"))


@pytest.mark.parametrize("size", [4, 30, 41])
def test_lists_in_blocks_are_those_of_the_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many equal scores, and users who have seen nearly everything."""
    monkeypatch.setattr(gnnrec.weights.blocks, "RANKED", size)
    graph, _ = problem()
    random = torch.Generator().manual_seed(0)
    user, item = (torch.randint(-1, 2, (rows, 3), generator=random).float() for rows in (41, 30))
    seen = interactions_of(graph).matrix().tolil()
    seen[5, :27] = 1
    users = torch.tensor([40, 5, 3, 17, 20, 21])
    expected = top_k(embedding_scorer(user, item), users, 6, seen.tocsr())
    found = rank_in_blocks(Rows(user, 41, Workers()), Rows(item, 30, Workers()), users, 6, seen.tocsr())
    assert torch.equal(found.items, expected.items) and torch.equal(found.scores, expected.scores)
    assert (expected.items == -1).any()
    nobody = rank_in_blocks(Rows(user, 41, Workers()), Rows(item, 30, Workers()), users[:0], 6, seen.tocsr())
    assert nobody.items.shape == (0, 6)
