"""A training in Weights & Biases: offline, as files in the run's folder that `wandb sync` sends later, or online."""

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gnnrec.errors import missing_extra

OFFLINE, PROJECT = "offline", "gnnrec"
ENVIRONMENT = {"WANDB_ERROR_REPORTING": "false"}  # its own crashes are told to nobody


class WandbSink:
    """`where` is "offline", or the name of a project on the server that wandb is set up for."""

    def __init__(self, where: str, folder: Path, settings: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("wandb") is None:
            raise missing_extra("wandb", "wandb")
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        offline = where == OFFLINE
        self.run = wandb.init(
            project=PROJECT if offline else where,
            mode="offline" if offline else None,
            dir=str(folder),
            id=hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16],
            resume=None if offline else "allow",  # offline files of one id are joined when they are sent
            name=folder.name,
            config={**settings, "run": str(folder.resolve())},
            # What the user did not ask to be told: code, packages, the machine's load, the console.
            settings=wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
            ),
        )

    def log(self, row: Mapping[str, float]) -> None:
        self.run.log({name: value for name, value in row.items() if name != "epoch"}, step=int(row["epoch"]))

    def finish(self, metrics: Mapping[str, float]) -> None:
        self.run.summary.update({f"validation {name}": value for name, value in metrics.items()})
        self.run.finish()

    def stop(self) -> None:
        self.run.finish(exit_code=1)
