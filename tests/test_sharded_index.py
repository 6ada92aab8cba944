"""An index in several files answers as the exact search over all rows."""

from collections.abc import Callable
from pathlib import Path

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


def test_the_command_writes_shards(
    planted_run: Run, one_document: Callable, run_command: Callable, tmp_path: Path
) -> None:
    export = ("export", planted_run.folder, "--to", tmp_path, "--shards", "4")
    document = one_document(*export, "--format", "faiss")
    assert document["checks"]["faiss"]["recall@10"] == 1.0 and len(document["written"]) == 5
    status, _, err = run_command(*export)
    assert status == 2 and "--shards: goes with --format faiss and --precision alone" in err
