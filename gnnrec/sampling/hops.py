"""Features carried over the graph once, before any training (SIGN): a block of rows at a time, into files if wanted.

Frasca et al. 2020, "SIGN: Scalable Inception Graph Neural Networks", section 3. An item's content x is its hop 0; hop 1
of a user is the mean of her items' hop 0, hop 2 of an item the mean of its users' hop 1, and so on. Deviations: means
(random-walk normalization) in the place of the symmetric one, and of each side only the hops that reach it.

Letters: U users, I items, d dimensions.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.files import sync_folder, write_json
from gnnrec.progress import progress
from gnnrec.sampling.csr import CSR
from gnnrec.sampling.mapped import new_mapped

Array = NDArray[Any]
BLOCK = 65_536  # rows that a kill costs at most


class Hops(NamedTuple):
    """In memory or memory-mapped; items at hop 0, 2, …, users at hop 1, 3, …"""

    user: tuple[Array, ...]  # [U, d] each
    item: tuple[Array, ...]  # [I, d] each


def make_hops(to_user: CSR, to_item: CSR, features: Array, num_hops: int, folder: Path | None = None) -> Hops:
    """Hops 0 to `num_hops` of `features` [I, d] float32, which may be a memory-mapped file; zeros where there is none.

    With `folder` each hop is a file there, written block by block; the same call on the same graph and features goes on
    after the last finished block, and reads what is finished. Whoever calls gives every graph a folder of its own.
    Raises UserError where a file there does not fit.
    """
    if features.dtype != np.float32:
        raise ValueError(f"hops: features are {features.dtype}; float32 is needed")
    found: dict[str, list[Array]] = {"item": [features], "user": []}
    for hop in range(1, num_hops + 1):
        name, csr, source = ("user", to_user, found["item"]) if hop % 2 else ("item", to_item, found["user"])
        found[name].append(_hop(csr, source[-1], f"hop_{hop}", folder))
    return Hops(tuple(found["user"]), tuple(found["item"]))


def _hop(csr: CSR, source: Array, name: str, folder: Path | None) -> Array:
    shape = (csr.num_rows, source.shape[1])
    if folder is None:
        made = np.empty(shape, dtype=np.float32)
        _mean_rows(csr.offsets, csr.columns, source, 0, made)
        return made
    path, part, state = folder / f"{name}.npy", folder / f"{name}.part.npy", folder / f"{name}.json"
    if not path.exists():
        _write(csr, source, part, state, shape)
        part.replace(path)
        sync_folder(folder)
        state.unlink()
    return _open(path, shape, "r")


def _write(csr: CSR, source: Array, part: Path, state: Path, shape: tuple[int, int]) -> None:
    """Finish the file; `state` holds how many of its rows are on disk."""
    done = 0
    if state.exists() and part.exists():
        done = json.loads(state.read_text(encoding="utf-8"))["rows"]
        made = _open(part, shape, "r+")
    else:
        part.parent.mkdir(parents=True, exist_ok=True)
        made = new_mapped(part, np.float32, shape)
    with progress(total=shape[0], text=f"carrying features: {part.name.split('.')[0]}", unit="row") as bar:
        bar.update(done)
        for first in range(done, shape[0], BLOCK):
            block = made[first : first + BLOCK]
            _mean_rows(csr.offsets, csr.columns, source, first, block)
            made.flush()
            write_json(state, {"rows": first + len(block)})
            bar.update(len(block))


def _open(path: Path, shape: tuple[int, int], mode: Any) -> Any:
    try:
        found = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable .npy file ({error}); delete its folder") from error
    if found.shape != shape or found.dtype != np.float32:
        raise UserError(f"{path}: found {found.dtype} {found.shape}, expected float32 {shape}; delete its folder")
    return found


@numba.njit(cache=True, nogil=True)
def _mean_rows(offsets: Array, columns: Array, source: Array, first: int, made: Array) -> None:
    """made[r] = mean of the source rows that row first + r hears; zeros where it hears none."""
    width = source.shape[1]
    total = np.empty(width, dtype=np.float64)
    for place in range(len(made)):
        start, end = offsets[first + place], offsets[first + place + 1]
        total[:] = 0.0
        for entry in range(start, end):
            row = columns[entry]
            for dimension in range(width):
                total[dimension] += source[row, dimension]
        for dimension in range(width):
            made[place, dimension] = total[dimension] / max(end - start, 1)
