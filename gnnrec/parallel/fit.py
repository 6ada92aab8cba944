"""fit_in_workers(): a job is written, run to its end by an engine, and what it left is looked at."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.parallel.job import read_outcome, write_job
from gnnrec.parallel.settings import ParallelConfig
from gnnrec.recipe import Recipe
from gnnrec.tracking import read_log
from gnnrec.training import Interrupted
from gnnrec.vault import encrypt_folder, is_encrypted

FOLDER = ".tmp-workers"  # in the run's own folder, which workers on other machines have to see, too


def fit_in_workers(
    graph: HeteroData,
    val: Interactions,
    recipe: Recipe,
    out: Path,
    settings: str,
    config: ParallelConfig,
    on_epoch: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> None:
    """Leave the checkpoint of a finished training in `out`, from where `fit` goes on with the same `settings`.
    Where no other process is asked for, nothing is done: `fit` does it all.

    `on_epoch` is called as by `fit`, but after the last epoch. Raises UserError for a model that is not trained by
    gradients and where workers fail, and Interrupted after Ctrl-C.
    """
    if config.alone:
        return
    if not issubclass(MODELS[recipe.model_name][0], EmbeddingModel):
        raise UserError(f"--nproc: found {config.nproc}; allowed: 1, since {recipe.model_name} is computed at once")
    folder, known = out / FOLDER, len(read_log(out))
    shutil.rmtree(folder, ignore_errors=True)  # of a job that was killed
    folder.mkdir(parents=True)
    if is_encrypted(out):
        encrypt_folder(folder)
    try:
        write_job(folder, graph, val, recipe, out, settings, show=sys.stderr.isatty())
        if config.engine == "ray":
            from gnnrec.parallel.ray_engine import run_workers
        else:
            from gnnrec.parallel.torchrun import run_workers
        try:
            run_workers(folder, config)
        except KeyboardInterrupt:
            raise Interrupted("stopped; the state is saved and the same command goes on") from None
        except UserError:  # workers were lost, perhaps since one of them met what the user can mend
            if (reason := read_outcome(folder)).error:
                raise UserError(reason.error) from None
            raise
        outcome = read_outcome(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if outcome.error:
        raise UserError(outcome.error)
    history = read_log(out)
    for end in range(known + 1, len(history) + 1):
        on_epoch(history[:end])
