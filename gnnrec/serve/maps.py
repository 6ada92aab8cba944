"""The map of a run's items: the main directions at once, t-SNE when a process of its own has made it."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.plots.project import main_directions
from gnnrec.run_folder import Run
from gnnrec.serve import projection

POLITE = 15  # niceness of that process: who asks for lists goes first


class Maps:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._making: dict[Path, asyncio.Task[None]] = {}

    async def of(self, run: Run) -> dict[str, Any]:
        """method, settled, x and y as in `schemas.Map`, of a run with embeddings."""
        path = await asyncio.to_thread(projection.kept, run)
        if path not in self._making and not path.exists() and projection.worth_making(run):
            self._making[path] = asyncio.create_task(_make(run.folder, path))
        coming = path in self._making and not self._making[path].done()
        there = path.exists()
        points = await asyncio.to_thread(_points, run, path if there else None)
        x, y = (2 * points.astype(float) - 1).round(4).T.tolist()  # from 0..1
        return {"method": "tsne" if there else "pca", "settled": there or not coming, "x": x, "y": y}

    def close(self) -> None:
        for task in self._making.values():
            task.cancel()


def _points(run: Run, path: Path | None) -> NDArray[np.float32]:
    return projection.read(path) if path is not None else main_directions(run.item_vectors)


async def _make(folder: Path, path: Path) -> None:
    """Where it fails the main directions stay; why, is on stderr."""
    command = (sys.executable, "-m", "gnnrec.serve.projection", str(folder), str(path))
    process = await asyncio.create_subprocess_exec(*command, preexec_fn=lambda: os.nice(POLITE) and None)
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
