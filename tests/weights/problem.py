"""A small training whose tables lie somewhere, for the tests of weights/ and for the processes that they start."""

import os
import signal
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch_geometric.data import HeteroData

from gnnrec.checkpoint import TrainState
from gnnrec.datasets import Interactions, planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.graph import build_graph
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.training import TrainConfig, Trainer, fit

# All neighbours, so that workers see the same; rows rounded to bfloat16 differ with the blocks that they are summed in.
QUICK = TrainConfig(
    epochs=3, batch_size=30, validate_every=1, precision="float32", sampling="neighbours", fanout=0, tables="sharded"
)


def problem() -> tuple[HeteroData, Interactions]:
    dataset = planted("text", num_users=41, num_items=30)
    parts = split(dataset)
    log = replace(parts.train, timestamp=np.arange(len(parts.train)))
    return build_graph(log, {name: from_array(part) for name, part in dataset.item_features.items()}), parts.val


def model_of(name: str, graph: HeteroData, *draw: Any) -> EmbeddingModel:
    kind, config = MODELS[name]
    model: EmbeddingModel = kind(config(dim=8), graph, torch.Generator().manual_seed(0), *draw)
    return model


def trained(name: str, config: TrainConfig, **more: Any) -> tuple[EmbeddingModel, TrainState]:
    graph, val = problem()
    model = model_of(name, graph)
    return model, fit(model, graph, val, config, **more)


def trainer(name: str, config: TrainConfig, **more: Any) -> Trainer:
    graph, val = problem()
    return Trainer(model_of(name, graph), graph, val, config, **more)


def kill_in_the_third(number: int = signal.SIGKILL) -> Any:
    """For `on_epoch`: the process dies when the third epoch is over, and not in the checkpoint yet."""

    def die(history: list[dict[str, float]]) -> None:
        if len(history) == 3:
            os.kill(os.getpid(), number)

    return die
