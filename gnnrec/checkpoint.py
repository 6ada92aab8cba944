"""The state of a training between two steps, in one safetensors file: written atomically, resumed exactly."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.tensor_files import open_tensors, save_tensors
from gnnrec.untrusted import refusing


@dataclass(slots=True)
class TrainState:
    """Everything but tensors that decides how a training goes on."""

    epoch: int = 0  # epochs finished
    step: int = 0  # batches finished in the running epoch
    updates: int = 0  # of the weights, since the beginning
    loss_sum: float = 0.0  # of the batches finished in the running epoch
    best_metric: float = -1.0
    best_epoch: int = 0
    stale: int = 0  # validations since the best one
    saves: int = 0  # of this state, since the beginning
    seconds: float = 0.0
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)  # a row per epoch


def save_checkpoint(
    path: Path, state: TrainState, groups: dict[str, dict[str, Tensor]], optimizer: torch.optim.Optimizer, settings: str
) -> None:
    """`groups` are named sets of tensors (weights, best weights, random states); `settings` is checked at resume."""
    tensors = {f"{group}.{name}": tensor for group, members in groups.items() for name, tensor in members.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    save_tensors(path, tensors, {"state": json.dumps(asdict(state)), "settings": settings})


def check_checkpoint(path: Path, settings: str) -> None:
    """Raises UserError where the checkpoint was made under other settings or cannot be read."""
    _read(path, settings, tensors=False)


def load_checkpoint(
    path: Path, optimizer: torch.optim.Optimizer, settings: str
) -> tuple[TrainState, dict[str, dict[str, Tensor]]]:
    """The state and the groups of tensors; the optimizer's moments are put in place.

    Raises UserError where the checkpoint was made under other settings or cannot be read.
    """
    metadata, tensors = _read(path, settings, tensors=True)
    with refusing(path, "not a readable checkpoint; delete it to begin again"):
        return _unpacked(metadata["state"], tensors, optimizer)


def _read(path: Path, settings: str, *, tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    found: dict[str, Tensor] = {}
    try:
        with open_tensors(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            if tensors and metadata.get("settings") == settings:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path}: not a readable checkpoint ({error}); delete it to begin again") from error
    if metadata.get("settings") != settings:
        raise UserError(f"{path}: was made under other settings or data; choose another --out or delete it")
    return metadata, found


def _unpacked(
    state: str, tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> tuple[TrainState, dict[str, dict[str, Tensor]]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups.setdefault(group, {})[rest] = tensor
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in groups.pop("optimizer", {}).items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return TrainState(**json.loads(state)), groups
