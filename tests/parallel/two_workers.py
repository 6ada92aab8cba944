"""What each of two workers does for test_workers.py; in a module of its own, since processes import it by name."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions, planted, split
from gnnrec.datasets.split import Split
from gnnrec.encoders.encode import from_array
from gnnrec.graph import build_graph
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.training import TrainConfig, fit
from gnnrec.workers import world

# Rows rounded to bfloat16 differ with the blocks that they are summed in, so float32 throughout.
QUICK = TrainConfig(epochs=3, batch_size=140, validate_every=1, precision="float32")
GRADIENTS = [name for name, (kind, _) in MODELS.items() if issubclass(kind, EmbeddingModel)]
SETTINGS: dict[str, dict[str, Any]] = {  # where it is not all the same
    "sasrec": {"dropout": 0.0},  # its masks are drawn for the windows of a share
    "modality_gnn": {"align": 0.5, "align_item": 0.5, "heads": 2},
}
CASES: dict[str, tuple[str, TrainConfig]] = {
    **{name: (name, QUICK) for name in GRADIENTS},
    "bpr": ("lightgcn", replace(QUICK, loss="bpr", negatives=3)),
    "bce": ("mf", replace(QUICK, loss="bce", negatives=3)),
    "hinge": ("mf", replace(QUICK, loss="hinge")),
    "shared negatives": ("mf", replace(QUICK, whole_catalogue=1, shared_negatives=50)),
    "sparse gradients": ("mf", replace(QUICK, sampling="neighbours")),
    "all neighbours": ("lightgcn", replace(QUICK, sampling="neighbours", fanout=0)),
    "one row": ("mf", replace(QUICK, batch_size=1, max_steps=10**6, epochs=1)),
}


def problem() -> tuple[HeteroData, Interactions]:
    dataset = planted("text", num_users=40, num_items=30)
    parts: Split = split(dataset)
    log = replace(parts.train, timestamp=np.arange(len(parts.train)))
    return build_graph(log, {name: from_array(part) for name, part in dataset.item_features.items()}), parts.val


def trained(case: str, **more: Any) -> dict[str, Any]:
    """Losses, validation and the weights that were kept, by one worker or by all of the process group."""
    name, config = CASES[case]
    graph, val = problem()
    kind, settings = MODELS[name]
    made = settings(**{"dim": 8, **SETTINGS.get(name, {})})
    model = kind(made, graph, torch.Generator().manual_seed(0))
    history = fit(model, graph, val, config, **more).history
    weights = torch.cat([value.flatten() for value in model.parameters()])
    return {"loss": [row["loss"] for row in history], "ndcg": history[-1]["ndcg@20"], "weights": weights.tolist()}


class Stop(Exception):
    """Raised by what watches a training, so that a checkpoint of its second epoch stays."""


def stop_in_the_third(history: list[dict[str, float]]) -> None:
    if len(history) == 3:
        raise Stop


def begun(checkpoint: Path) -> None:
    try:
        trained("modality_gnn", checkpoint=checkpoint, on_epoch=stop_in_the_third)
    except Stop:
        return
    raise AssertionError("it was not stopped")


def run(folder: str) -> None:
    """All cases; what one began is gone on with, and another training is begun for one to go on with."""
    torch.set_num_threads(1)
    where = Path(folder)
    found = {case: trained(case) for case in CASES}
    found["resumed"] = trained("modality_gnn", checkpoint=where / "one.safetensors")
    begun(where / "two.safetensors")
    (where / f"worker-{world().rank}.json").write_text(json.dumps(found))


def killed_once(folder: str) -> None:
    """The second worker of the first group is killed when two epochs are done and the third is not."""
    torch.set_num_threads(1)
    where, first_group = Path(folder), os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def die_in_the_third(history: list[dict[str, float]]) -> None:
        if world().rank == 1 and first_group and len(history) == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    found = trained("lightgcn", checkpoint=where / "state.safetensors", on_epoch=die_in_the_third)
    found["first group"] = first_group
    (where / f"worker-{world().rank}.json").write_text(json.dumps(found))
