"""An index in several files answers as the exact search over all rows."""

import weakref
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from gnnrec.errors import UserError
from gnnrec.export import export_embeddings, search_index
from gnnrec.export_index import read_index
from gnnrec.run_folder import Run
from gnnrec.sharded_index import search_shards, write_shards
from gnnrec.vault import write_bytes


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


@pytest.mark.parametrize("sealed", [False, True])
def test_a_damaged_shard_is_one_line_that_names_it(
    sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut anywhere, or with a byte changed: refused, or searched where only numbers are others."""
    item, ids = np.eye(6, 4, dtype=np.float32), [str(row) for row in range(6)]
    if sealed:
        monkeypatch.setenv("GNNREC_KEY", "00" * 32)
        export_embeddings(item, item, ids, ids, tmp_path, ("faiss",), encrypt=True)
        name, good = "items.faiss", faiss.serialize_index(read_index(tmp_path / "items.faiss")).tobytes()
    else:
        name = write_shards(item, ids, tmp_path, 3)[1].name
        good = (tmp_path / name).read_bytes()

    def search(content: bytes) -> str:
        if sealed:
            write_bytes(tmp_path / name, content)
        else:
            (tmp_path / name).write_bytes(content)
        try:
            (search_index if sealed else search_shards)(tmp_path, item, 2)
        except UserError as error:
            return str(error)
        return ""

    assert search(good) == ""
    refused = f"{tmp_path / name}: not a readable FAISS index; export into its folder again"
    assert {search(good[:size]) for size in range(len(good))} == {refused}
    changed = [search(good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :]) for at in range(len(good))]
    assert all("\n" not in line and (not line or line.startswith(str(tmp_path))) for line in changed)
    assert sum(map(bool, changed)) >= 20  # the head's 33 bytes say what and how much there is


def test_shards_that_do_not_fit_their_ids_are_said(tmp_path: Path) -> None:
    item = np.eye(6, dtype=np.float32)
    first, *_ = write_shards(item, [str(row) for row in range(6)], tmp_path, 3)
    more = faiss.IndexFlatIP(6)
    more.add(np.eye(6, dtype=np.float32)[:4])
    faiss.write_index(more, str(first))
    with pytest.raises(UserError, match=r"its index has 8 rows and items.ids.json 6; export into it again"):
        search_shards(tmp_path, item, 1)
    by_distance = faiss.IndexFlatL2(6)
    by_distance.add(item[:2])
    faiss.write_index(by_distance, str(first))
    with pytest.raises(UserError, match=f"{first.name}: not an index by inner product"):
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
