"""The map of a run's items on disk: t-SNE takes up to minutes, so a process of its own makes it once.

As a program: `python -m gnnrec.serve.projection RUN FILE`. Letters: I items.
"""

import io
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.plots.project import FEWEST, project
from gnnrec.run_folder import Run
from gnnrec.vault import is_encrypted, read_bytes, sha256_of, write_bytes

MOST = 30_000  # items that t-SNE is tried with


def worth_making(run: Run) -> bool:
    return FEWEST <= len(run.item_ids) <= MOST


def kept(run: Run) -> Path:
    """Where the map of a run's embeddings is kept, there or not yet: in the cache, or in an encrypted run."""
    if is_encrypted(run.folder):
        return run.folder / "map.npy"
    from gnnrec.encoders.pretrained import cache_root  # brings torch along

    return cache_root() / "maps" / f"{sha256_of(run.folder / 'embeddings.safetensors')}.npy"


def read(path: Path) -> NDArray[np.float32]:
    """Points [I, 2] that `main` wrote."""
    points: NDArray[np.float32] = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    return points


def main(run: str, file: str) -> None:
    content = io.BytesIO()
    np.save(content, project(Run.load(run).item_vectors))
    write_bytes(Path(file), content.getbuffer())


if __name__ == "__main__":
    main(*sys.argv[1:])
