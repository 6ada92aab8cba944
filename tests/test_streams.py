"""Arrays, lists and tensor files written in blocks are to the byte what the libraries write at once."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from gnnrec import scratch
from gnnrec.streams import list_parts, streamed, write_npy
from gnnrec.tensor_files import map_tensor, open_tensors, save_tensors

TENSORS = {
    "wide": torch.arange(12, dtype=torch.int64).view(3, 4),
    "a": torch.linspace(-1, 1, 50).view(10, 5),
    "b": torch.zeros(0, 5),
    "half": torch.linspace(-1, 1, 7).half(),
    "brain": torch.linspace(-1, 1, 7).bfloat16(),
    "flags": torch.tensor([True, False, True]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "signed": torch.arange(-5, 5, dtype=torch.int8),
    "short": torch.arange(5, dtype=torch.int16),
    "int": torch.arange(5, dtype=torch.int32),
    "double": torch.linspace(0, 1, 5, dtype=torch.float64),
    "number": torch.tensor(5),
    '书/"籍': torch.ones(2, 2).T,
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 40)


def mapping(array: np.ndarray) -> str:
    """What the kernel says of the memory that an array is in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= array.ctypes.data < last:
            return line
    raise AssertionError


def test_a_tensor_file_is_the_one_of_the_library(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t.safetensors", TENSORS)
    assert (tmp_path / "t.safetensors").read_bytes() == save({k: v.contiguous() for k, v in TENSORS.items()})
    save_tensors(tmp_path / "m.safetensors", TENSORS, {"told": 'a "b"\n'})
    with open_tensors(tmp_path / "m.safetensors") as file:
        assert file.metadata() == {"told": 'a "b"\n'}
    for name, found in load_file(tmp_path / "m.safetensors").items():
        assert torch.equal(found, TENSORS[name])


def test_tensors_that_share_memory_are_written_each(tmp_path: Path) -> None:
    rows = torch.arange(9).view(3, 3)
    save_tensors(tmp_path / "t.safetensors", {"first": rows[:2], "second": rows[1:]})
    found = load_file(tmp_path / "t.safetensors")
    assert torch.equal(found["first"], rows[:2]) and torch.equal(found["second"], rows[1:])


@pytest.mark.parametrize("sealed", [False, True])
def test_an_array_is_mapped_and_what_is_written_to_it_stays_in_memory(
    sealed: bool, tmp_path: Path, encryption_key: Path
) -> None:
    from gnnrec.vault import encrypt_folder

    if sealed:
        encrypt_folder(tmp_path / "run")
    path = tmp_path / "run" / "t.safetensors"
    save_tensors(path, {name: TENSORS[name] for name in ("a", "b", "int", "wide")})  # NumPy knows these types
    content = path.read_bytes()
    for name in ("a", "b", "int", "wide"):
        assert np.array_equal(map_tensor(path, name), TENSORS[name].numpy())
    found = map_tensor(path, "a")
    assert ("t.safetensors" in mapping(found)) is not sealed
    found[:] = 7
    assert path.read_bytes() == content


def test_npy_files_and_lists_are_those_of_the_libraries() -> None:
    for array in (np.arange(60, dtype=np.float32).reshape(20, 3), np.zeros((0, 3), np.int8), np.arange(9)):
        expected, found = io.BytesIO(), io.BytesIO()
        np.save(expected, array)
        write_npy(found, streamed(array))
        assert found.getvalue() == expected.getvalue()
    for texts in ([], ["a"], ["1", 'a,"b"', "two\nlines", "书籍", ""] * 30_000):
        assert b"".join(list_parts(texts)).decode() == json.dumps(texts, ensure_ascii=False)
