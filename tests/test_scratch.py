"""Large arrays in files without a name."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from gnnrec import scratch
from gnnrec.errors import UserError


def test_small_arrays_are_in_memory_and_large_ones_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert scratch.empty((10, 4)).flags.owndata
    large = scratch.empty((10, 4), in_memory=159)
    assert not large.flags.owndata and large.dtype == np.float32
    assert not list(tmp_path.iterdir())
    large[:] = np.arange(40).reshape(10, 4)
    assert np.array_equal(large, np.arange(40).reshape(10, 4))
    assert scratch.empty((0, 4), in_memory=0).shape == (0, 4)


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="no room for a table of 160 bytes .No space left on device.; TMPDIR names"):
        scratch.empty((10, 4), in_memory=0)
    with pytest.raises(UserError, match="named: no room for a table of 160 bytes .No space left on device.$"):
        scratch.nameless((10, 4), np.float32, tmp_path / "named")
    assert [path.name for path in tmp_path.rglob("*")] == ["named"]


def test_blocks_cover_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 16 * 7)
    table = np.zeros((30, 4), np.float32)
    found = list(scratch.blocks(table))
    assert [rows.stop - rows.start for rows in found] == [7, 7, 7, 7, 2]
    assert list(scratch.blocks(table[:0])) == []
