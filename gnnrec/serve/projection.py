"""The map of a run's items on disk: t-SNE takes up to minutes, so a process of its own makes it once.

As a program: `python -m gnnrec.serve.projection RUN FILE`. Letters: I items.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gnnrec.files import atomic_path, sha256_of_file
from gnnrec.plots.project import FEWEST, project
from gnnrec.run_folder import Run

MOST = 30_000  # items that t-SNE is tried with


def worth_making(run: Run) -> bool:
    return FEWEST <= len(run.item_ids) <= MOST


def kept(run: Run) -> Path:
    """Where the map of a run's embeddings is kept, whether it is there or not."""
    from gnnrec.encoders.pretrained import cache_root  # brings torch along

    return cache_root() / "maps" / f"{sha256_of_file(run.folder / 'embeddings.safetensors')}.npy"


def read(path: Path) -> NDArray[np.float32]:
    """Points [I, 2] that `main` wrote."""
    points: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return points


def main(run: str, file: str) -> None:
    with atomic_path(Path(file)) as temporary:
        np.save(temporary, project(Run.load(run).item_vectors))


if __name__ == "__main__":
    main(*sys.argv[1:])
