"""safetensors files in folders that may be encrypted: plain ones are read as far as is asked for, others whole.

They are written here rather than by the library, which wants all tensors as copies of their own in memory: 8 bytes of
length, the header as JSON, padded by spaces to a multiple of 8 bytes, and the tensors one after another, those of wider
types first, then by name. The bytes are those that the library writes.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from gnnrec.files import KEYS
from gnnrec.streams import Stream, streamed
from gnnrec.vault import open_write, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

KINDS = {  # in the order of the library's own list, the last ones first in a file
    **{"bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "float16": "F16"},
    **{"bfloat16": "BF16", "int32": "I32", "uint32": "U32", "float32": "F32", "float64": "F64"},
    **{"int64": "I64", "uint64": "U64"},
}
RANKS = {kind: rank for rank, kind in enumerate(KINDS.values())}
MAPPED = {kind: name for name, kind in KINDS.items() if name != "bfloat16"}  # what numpy has


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Written whole or not at all, without a copy of any tensor that is on the CPU."""
    with open_write(path) as file:
        write_tensors(file, {name: _of_tensor(tensor) for name, tensor in tensors.items()}, metadata)


def write_tensors(
    file: IO[bytes], streams: Mapping[str, tuple[str, Stream]], metadata: dict[str, str] | None = None
) -> None:
    """Arrays by name with their types as in KINDS, a block of each in memory at a time."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    ordered = sorted(streams.items(), key=lambda entry: (-RANKS[entry[1][0]], entry[0].encode()))
    begin = 0
    for name, (kind, stream) in ordered:
        end = begin + stream.num_bytes
        header[name] = {"dtype": kind, "shape": list(stream.shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for _, (_, stream) in ordered:
        stream.write(file)


def of_array(array: NDArray[Any]) -> tuple[str, Stream]:
    return KINDS[array.dtype.name], streamed(array)


def _of_tensor(tensor: "Tensor") -> tuple[str, Stream]:
    kind, own = str(tensor.dtype).removeprefix("torch."), tensor.detach().cpu().contiguous()
    if kind == "bfloat16":
        import torch

        own = own.view(torch.int16)
    return KINDS[kind], streamed(own.numpy())


@contextmanager
def open_tensors(path: Path, framework: str = "np") -> "Iterator[safe_open | _InMemory]":
    """What `safetensors.safe_open` gives. Raises as it does (OSError, SafetensorError), and as `vault.read_bytes`."""
    if (path.parent / KEYS).exists():
        yield _InMemory(read_bytes(path), framework)
    else:
        with safe_open(path, framework=framework) as file:
            yield file


def map_tensor(path: Path, name: str) -> NDArray[Any]:
    """One array, read as it is used: the file is mapped, and what is written to the array stays in memory.

    Of an encrypted folder it is read whole. Raises as `open_tensors`.
    """
    with open_tensors(path) as file:
        whole = file.get_slice(name)  # the library has looked at the header
        if isinstance(file, _InMemory) or not np.prod(whole.get_shape()):  # of nothing there is no map
            return np.asarray(file.get_tensor(name))
    with path.open("rb") as plain:
        length = int.from_bytes(plain.read(8), "little")
        entry = json.loads(plain.read(length))[name]
        kind, offset = MAPPED[entry["dtype"]], 8 + length + entry["data_offsets"][0]
        return np.asarray(np.memmap(plain, dtype=kind, mode="c", offset=offset, shape=tuple(entry["shape"])))


class _InMemory:
    """The part of safe_open's interface that is used, over bytes."""

    def __init__(self, data: bytes, framework: str) -> None:
        if framework == "np":
            from safetensors.numpy import load
        else:
            from safetensors.torch import load  # type: ignore[assignment]
        self._tensors: dict[str, Any] = load(data)
        # The library tells metadata of files only: 8 bytes of length, then the header as JSON.
        self._metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")

    def keys(self) -> list[str]:
        return list(self._tensors)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata

    def get_tensor(self, name: str) -> Any:
        return self._tensors[name]

    def get_slice(self, name: str) -> "_Slice":
        return _Slice(self._tensors[name])


class _Slice:
    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def get_shape(self) -> list[int]:
        return list(self._whole.shape)

    def __getitem__(self, rows: slice) -> Any:
        return self._whole[rows]
