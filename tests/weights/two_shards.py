"""What each of two workers does for test_shards.py; in a module of its own, since processes import it by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from problem import QUICK, problem, trained, trainer

from gnnrec.errors import UserError
from gnnrec.models import MODELS
from gnnrec.training import TrainConfig
from gnnrec.weights.choose import draw_for
from gnnrec.weights.shards import DrawBlock, Route, block_of, gathered
from gnnrec.workers import world

ROWS, DIM = 11, 3
ASKED = ([10, 0, 4], [4, 5, 9, 1, 3])  # of each worker
CASES: dict[str, tuple[str, TrainConfig]] = {
    **{name: (name, QUICK) for name in ("mf", "lightgcn", "xsimgcl", "modality_gnn")},
    "no average": ("lightgcn", replace(QUICK, average=0.0)),
    "decay": ("lightgcn", replace(QUICK, weight_decay=0.1)),
    "shared negatives": ("mf", replace(QUICK, whole_catalogue=1, shared_negatives=50)),
}
NOISY = "xsimgcl"  # whose noise is drawn for the rows of a piece


class Stop(Exception):
    """Raised by what watches a training, so that a checkpoint of its second epoch stays."""


def stop_in_the_third(history: list[dict[str, float]]) -> None:
    if len(history) == 3:
        raise Stop


def begun(checkpoint: Path) -> None:
    try:
        trained("modality_gnn", QUICK, checkpoint=checkpoint, on_epoch=stop_in_the_third)
    except Stop:
        return
    raise AssertionError("it was not stopped")


def found_by(name: str, config: TrainConfig, **more: Any) -> dict[str, Any]:
    """Losses, validation, and the rows of the best weights that are here."""
    model, state = trained(name, config, **more)
    history = state.history
    rows = {key: value.tolist() for key, value in model.named_parameters() if key in model.rows_of}
    return {"loss": [row["loss"] for row in history], "ndcg": history[-1]["ndcg@20"], "rows": rows}


def looked_up() -> dict[str, Any]:
    """Rows, and the gradient of a block, of a weighted sum of squares."""
    workers = world()
    whole = torch.arange(float(ROWS * DIM)).view(ROWS, DIM)
    block = torch.nn.Parameter(whole[block_of(ROWS, workers)].clone())
    ids = torch.tensor(ASKED[workers.rank])
    route = Route(ids, ROWS, workers)
    first, second = route.look_up(block), route.look_up(block)
    (first.square().sum() * (workers.rank + 1) + second.sum()).backward()
    assert block.grad is not None and block.grad.is_sparse
    return {
        "rows": first.tolist(),
        "gradient": block.grad.to_dense().tolist(),
        "gathered": gathered(block.detach(), ROWS, workers).tolist(),
        "nothing": list(Route(ids[:0], ROWS, workers).look_up(block).shape),
    }


def sizes() -> dict[str, list[int]]:
    """Rows of each part of each table of a training here, and of each model's own."""
    made = trainer("modality_gnn", QUICK)
    made.step(torch.arange(40))
    parts = made.weights.parts  # type: ignore[attr-defined]
    moments = made.weights.optimizer.state.values()  # type: ignore[attr-defined]
    return {
        "parts": [len(part) for held in parts.values() for part in held.values()],
        "moments": [len(state["exp_avg"]) for state in moments],
        "other": [value.numel() for state in made.optimizer.state.values() for value in state.values()],
    }


def drawn() -> list[bool]:
    """Whether models that draw their own rows have those of the models that draw all."""
    graph, _ = problem()
    same = []
    for name in ("mf", "lightgcn", "xsimgcl", "modality_gnn"):
        kind, config = MODELS[name]
        whole = kind(config(dim=8), graph, torch.Generator().manual_seed(0))
        part = kind(config(dim=8), graph, torch.Generator().manual_seed(0), DrawBlock(world()))
        for key, value in whole.named_parameters():
            expected = value[block_of(len(value), world())] if key in whole.rows_of and key != "bias" else value
            same.append(torch.equal(part.get_parameter(key), expected))
    return same


def refused() -> str:
    try:
        draw_for("mapped", MODELS["mf"][0], None)
    except UserError as error:
        return str(error)
    raise AssertionError("it was not refused")


def run(folder: str) -> None:
    torch.set_num_threads(1)
    where = Path(folder)
    found: dict[str, Any] = {case: found_by(*setting) for case, setting in CASES.items()}
    found |= {"looked up": looked_up(), "sizes": sizes(), "drawn": drawn(), "refused": refused()}
    found["resumed"] = found_by("modality_gnn", QUICK, checkpoint=where / "one" / "checkpoint.safetensors")
    begun(where / "two" / "checkpoint.safetensors")
    (where / f"found-{world().rank}.json").write_text(json.dumps(found))
