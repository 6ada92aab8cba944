"""Hops made once: the dense formula, the same numbers from files, and a kill in between."""

from pathlib import Path

import numpy as np
import pytest
import torch

import gnnrec.graph_hops
from gnnrec.datasets import powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.errors import UserError
from gnnrec.graph import build_graph, with_interactions
from gnnrec.graph_hops import hops_of
from gnnrec.models.sign import Sign, SignConfig
from gnnrec.sampling import hops as module
from gnnrec.sampling.csr import CSR
from gnnrec.sampling.hops import make_hops

USERS, ITEMS = 40, 23


def csr(dense: np.ndarray) -> CSR:
    columns = np.nonzero(dense)[1]
    return CSR(np.concatenate([[0], dense.sum(1).astype(int).cumsum()]), columns.astype(np.int32), dense.shape[1])


def dense_hops(matrix: np.ndarray, x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    user = [matrix @ x / np.maximum(matrix.sum(1), 1)[:, None]]
    item = [x, matrix.T @ user[0] / np.maximum(matrix.sum(0), 1)[:, None]]
    user.append(matrix @ item[1] / np.maximum(matrix.sum(1), 1)[:, None])
    return user, item


def problem() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    matrix = (random.random((USERS, ITEMS)) < 0.2).astype(float)
    matrix[3] = 0
    return matrix, random.normal(size=(ITEMS, 6)).astype(np.float32)


def test_hops_are_the_dense_products_in_memory_and_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    matrix, x = problem()
    expected = dense_hops(matrix, x)
    for folder in (None, tmp_path / "hops"):
        found = make_hops(csr(matrix), csr(matrix.T), x, 3, folder)
        for side, wanted in zip(found, expected, strict=True):
            for table, dense in zip(side, wanted, strict=True):
                np.testing.assert_allclose(table, dense, atol=1e-6)
    assert isinstance(found.user[1], np.memmap)
    assert sorted(path.name for path in (tmp_path / "hops").iterdir()) == ["hop_1.npy", "hop_2.npy", "hop_3.npy"]


def test_a_kill_costs_one_block_and_the_rest_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    matrix, x = problem()
    blocks: list[tuple[int, int]] = []
    original = module._mean_rows

    def killed_at(limit: int) -> None:
        def mean_rows(offsets, columns, source, first, made) -> None:
            if len(blocks) == limit:
                raise KeyboardInterrupt
            blocks.append((len(offsets), first))
            original(offsets, columns, source, first, made)

        monkeypatch.setattr(module, "_mean_rows", mean_rows)

    killed_at(8)  # six blocks of users, two of items
    with pytest.raises(KeyboardInterrupt):
        make_hops(csr(matrix), csr(matrix.T), x, 3, tmp_path)
    killed_at(1_000)
    found = make_hops(csr(matrix), csr(matrix.T), x, 3, tmp_path)
    np.testing.assert_allclose(found.user[1], dense_hops(matrix, x)[0][1], atol=1e-6)
    items, users = len(range(0, ITEMS, 7)), len(range(0, USERS, 7))
    assert len(blocks) == len(set(blocks)) + users == 2 * users + items  # hop 3 has the rows of hop 1
    killed_at(0)
    make_hops(csr(matrix), csr(matrix.T), x, 3, tmp_path)  # all are there


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    matrix, x = problem()
    np.save(tmp_path / "hop_1.npy", np.zeros((2, 6), np.float32))
    with pytest.raises(UserError, match=r"hop_1\.npy: found float32 \(2, 6\), expected float32 \(40, 6\)"):
        make_hops(csr(matrix), csr(matrix.T), x, 1, tmp_path)


def test_a_graph_s_hops_follow_its_log_and_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = powerlaw(USERS, ITEMS, 220, 0).interactions
    x = np.random.default_rng(0).normal(size=(ITEMS, 5)).astype(np.float32)
    x[4] = np.nan
    graph = build_graph(log, {"text": from_array(x), "image": from_array(x[:, :2] ** 2)})
    found = hops_of(graph, 3)
    rows = np.zeros((ITEMS, 7), np.float32)
    for begin, name in ((0, "image"), (2, "text")):
        nodes = graph[name]
        rows[graph["item", f"has_{name}", name].edge_index[0], begin : begin + nodes.x.shape[1]] = nodes.x
    np.testing.assert_allclose(found.user[1], dense_hops(log.matrix().toarray(), rows)[0][1], atol=1e-5)
    assert hops_of(graph, 3) is found
    fewer = with_interactions(graph, log.rows(slice(0, 110)))
    assert not np.allclose(hops_of(fewer, 3).user[0], found.user[0])
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    monkeypatch.setattr(gnnrec.graph_hops, "IN_MEMORY", 0)
    model = Sign(SignConfig(dim=4), graph, torch.Generator().manual_seed(0))
    whole, disk = model(graph), model(with_interactions(graph, log))
    assert len(list((tmp_path / "hops").iterdir())) == 1
    torch.testing.assert_close(disk, whole)
