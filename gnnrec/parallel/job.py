"""What the workers of one training are told, as files in a folder, and what each of them does.

A job leaves one thing behind: the checkpoint of a finished training beside the run's log. Whoever started it goes on
from there as after an interruption, so that any number of workers can go on with what any other number began.
"""

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Generator
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.encoders import default_device
from gnnrec.errors import UserError
from gnnrec.models import MODELS
from gnnrec.progress import without_progress
from gnnrec.recipe import Recipe, parse_toml
from gnnrec.run_tensors import load_tensors, pack_graph, pack_log, unpack_graph, unpack_log
from gnnrec.tensor_files import save_tensors
from gnnrec.tracking import Tracker
from gnnrec.training import fit
from gnnrec.vault import read_text, write_json
from gnnrec.weights.choose import draw_for
from gnnrec.workers import world

JOB, GRAPH, OUTCOME = "job.json", "graph.safetensors", "outcome.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended that was neither stopped nor lost."""

    error: str = ""  # what the user can mend; empty for a finished training


def write_job(
    folder: Path, graph: HeteroData, val: Interactions, recipe: Recipe, out: Path, settings: str, show: bool
) -> None:
    """show: whether the first worker draws a progress bar, where there is a terminal."""
    save_tensors(folder / GRAPH, pack_graph(graph) | pack_log("val", val))
    write_json(
        folder / JOB, {"recipe": recipe.to_toml(), "out": str(out.absolute()), "settings": settings, "show": show}
    )


def read_outcome(folder: Path) -> Outcome:
    if not (folder / OUTCOME).exists():
        return Outcome()
    return Outcome(**json.loads(read_text(folder / OUTCOME)))


def work(folder: Path, threads: int) -> None:
    """One worker of the process group that this process is in, with so many threads for its sums.

    Raises Interrupted after SIGINT, once the state is saved.
    """
    torch.set_num_threads(threads)
    job = json.loads(read_text(folder / JOB))
    tensors = load_tensors(folder / GRAPH)
    graph = unpack_graph(tensors)
    val = unpack_log("val", tensors, graph["user"].num_nodes, graph["item"].num_nodes)
    recipe = Recipe.from_dict(parse_toml(job["recipe"], JOB), JOB)
    out = Path(job["out"])
    kind, generator = MODELS[recipe.model_name][0], Generator().manual_seed(recipe.train.seed)
    first = world().first
    tracker = Tracker(out) if first else None
    on_epoch: Callable[[list[dict[str, float]]], None] = tracker or (lambda history: None)
    device = default_device()
    outcome = Outcome()
    try:
        model = kind(recipe.model, graph, generator, *draw_for(recipe.train.tables, kind, out))
        model.begin(graph)
        with nullcontext() if first and job["show"] else without_progress():
            where = {"checkpoint": out / "checkpoint.safetensors", "settings": job["settings"], "on_epoch": on_epoch}
            fit(model.to(device), graph.to(device), val, recipe.train, **where)
    except UserError as error:
        outcome = Outcome(error=str(error))
    finally:
        if tracker is not None:
            tracker.close()
    if first or outcome.error:  # a full disk may be another's alone
        write_json(folder / OUTCOME, asdict(outcome))
