"""safetensors files in folders that may be encrypted: plain ones are read as far as is asked for, others whole."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open

from gnnrec.files import KEYS, atomic_path
from gnnrec.vault import read_bytes, write_bytes

if TYPE_CHECKING:
    from torch import Tensor


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    """Written whole or not at all. Clones, since safetensors refuses memory that two tensors share."""
    from safetensors.torch import save, save_file

    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    if (path.parent / KEYS).exists():
        write_bytes(path, save(own, metadata))
        return
    with atomic_path(path) as temporary:
        save_file(own, temporary, metadata)


@contextmanager
def open_tensors(path: Path, framework: str = "np") -> "Iterator[safe_open | _InMemory]":
    """What `safetensors.safe_open` gives. Raises as it does (OSError, SafetensorError), and as `vault.read_bytes`."""
    if (path.parent / KEYS).exists():
        yield _InMemory(read_bytes(path), framework)
    else:
        with safe_open(path, framework=framework) as file:
            yield file


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
