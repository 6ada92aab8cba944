"""An index in several files answers as the exact search over all rows."""

import weakref
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from gnnrec.errors import UserError
from gnnrec.run_folder import Run
from gnnrec.sharded_index import search_shards, write_shards


@pytest.mark.parametrize("num_shards", [1, 3, 7])
def test_all_shards_together_are_one_exact_index(tmp_path: Path, num_shards: int) -> None:
    random = np.random.default_rng(0)
    item, query = (random.normal(size=(rows, 6)).astype(np.float32) for rows in (100, 20))
    ids = [f"i{row}" for row in range(100)]
    write_shards(item, ids, tmp_path, 5)  # of an export before
    write_shards(item, ids, tmp_path, num_shards)
    expected = [[ids[row] for row in np.argsort(-scores)[:9]] for scores in query @ item.T]
    assert search_shards(tmp_path, query, 9) == expected
    assert len(list(tmp_path.glob("*.faiss"))) == num_shards


def test_a_missing_shard_is_said(tmp_path: Path) -> None:
    item = np.eye(6, dtype=np.float32)
    first, *_ = write_shards(item, [str(row) for row in range(6)], tmp_path, 3)
    first.unlink()
    with pytest.raises(UserError, match="2 of its shards are there"):
        search_shards(tmp_path, item, 1)
    with pytest.raises(UserError, match="found 7; allowed: 1 to 6"):
        write_shards(item, [str(row) for row in range(6)], tmp_path, 7)


@pytest.mark.parametrize("keep", [0, 3, 40, 80])
def test_a_damaged_shard_is_one_clear_line(tmp_path: Path, run_command: Callable, keep: int) -> None:
    item = np.eye(6, dtype=np.float32)
    _, second, *_ = write_shards(item, [str(row) for row in range(6)], tmp_path / "index", 3)
    np.save(tmp_path / "queries.npy", item)
    second.write_bytes(second.read_bytes()[:keep] if keep else b"x" * 200)
    status, _, err = run_command("search", tmp_path / "index", "--vectors", tmp_path / "queries.npy")
    assert status == 2 and err.startswith(f"gnnrec: {second}: no FAISS index, or a damaged one: ")
    assert err.count("\n") == 1


def test_shards_of_another_number_of_items_are_refused(tmp_path: Path) -> None:
    item = np.eye(6, dtype=np.float32)
    *_, ids = write_shards(item, [str(row) for row in range(6)], tmp_path, 3)
    ids.write_text('["0", "1", "2", "3", "4"]')
    with pytest.raises(UserError, match="its shards hold 6 rows, items.ids.json names 5"):
        search_shards(tmp_path, item, 1)


def test_the_command_writes_shards(
    planted_run: Run, one_document: Callable, run_command: Callable, tmp_path: Path
) -> None:
    export = ("export", planted_run.folder, "--to", tmp_path, "--shards", "4")
    document = one_document(*export, "--format", "faiss")
    assert document["checks"]["faiss"]["recall@10"] == 1.0 and len(document["written"]) == 5
    status, _, err = run_command(*export)
    assert status == 2 and "--shards: goes with --format faiss and --precision alone" in err


def tied_rows() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """60 items of 12 kinds, so that every score comes five times, in whichever shard; exact in float32."""
    random = np.random.default_rng(3)
    kinds = random.integers(-4, 5, (12, 6)).astype(np.float32)
    item = kinds[random.permutation(np.arange(60) % 12)]
    return item, random.integers(-3, 4, (25, 6)).astype(np.float32), [f"i{row}" for row in range(60)]


@pytest.mark.parametrize("k", [1, 10, 60, 100])
def test_ties_are_the_lower_rows_as_of_an_exact_search(tmp_path: Path, k: int) -> None:
    item, query, ids = tied_rows()
    write_shards(item, ids, tmp_path, 3)
    expected = [[ids[row] for row in np.argsort(-scores, kind="stable")[:k]] for scores in query @ item.T]
    assert search_shards(tmp_path, query, k) == expected


def test_one_shard_is_in_memory_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight megabytes in eight files less than two are held at any time, by FAISS's own count of what it read."""
    item = np.random.default_rng(0).normal(size=(32_000, 64)).astype(np.float32)
    write_shards(item, [str(row) for row in range(len(item))], tmp_path, 8)
    held, alive = [], []
    original = faiss.read_index

    def read_index(path: str) -> object:
        index = original(path)
        alive.append(weakref.ref(index))
        held.append(sum(one().ntotal for one in alive if one() is not None))
        return index

    monkeypatch.setattr(faiss, "read_index", read_index)
    search_shards(tmp_path, item[:3], 5)
    assert held == [4_000] * 8


def test_the_command_searches_and_says_what_is_wrong(
    one_document: Callable, run_command: Callable, tmp_path: Path
) -> None:
    item, query, ids = tied_rows()
    write_shards(item, ids, tmp_path / "index", 3)
    np.save(tmp_path / "queries.npy", query)
    found = one_document("search", tmp_path / "index", "--vectors", tmp_path / "queries.npy")["lists"]
    assert [[one["item"] for one in best] for best in found] == search_shards(tmp_path / "index", query, 10)
    for best, scores in zip(found, query @ item.T, strict=True):
        assert [one["score"] for one in best] == sorted(scores.tolist(), reverse=True)[:10]
    status, out, _ = run_command("search", tmp_path / "index", "--vectors", tmp_path / "queries.npy", "-k", "1")
    assert status == 0 and found[0][0]["item"] in out
    for values, said in (
        (query[:, :4], "found queries of shape (25, 4); allowed: [n, 6]"),
        (query[0], "allowed: finite floating numbers [n, d]"),
        (query * np.nan, "allowed: finite floating numbers [n, d]"),
    ):
        np.save(tmp_path / "wrong.npy", values)
        status, _, err = run_command("search", tmp_path / "index", "--vectors", tmp_path / "wrong.npy")
        assert status == 2 and said in err
