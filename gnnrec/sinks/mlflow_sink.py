"""A training in MLflow: a folder on this machine, or the address of a server."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gnnrec.errors import missing_extra

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "gnnrec"
RUN = "gnnrec.run"  # tag with the folder of the run, by which a training that goes on finds itself
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is told to others than the one who was named
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder needs no database; MLflow only reads and writes it any more
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is away must not hold the training up for minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}


class MlflowSink:
    def __init__(self, where: str, folder: Path, settings: Mapping[str, Any]) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise missing_extra("mlflow", "mlflow-skinny")
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self.client = MlflowClient(tracking_uri=where if "://" in where else Path(where).absolute().as_uri())
        self.id = _unfinished(self.client, folder) or _new_run(self.client, folder)
        self.client.update_run(self.id, status="RUNNING")
        for key, value in settings.items():
            self.client.log_param(self.id, key, value)

    def log(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "epoch":
                self.client.log_metric(self.id, _allowed(name), value, step=int(row["epoch"]))

    def finish(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.id, f"validation {_allowed(name)}", value)
        self.client.set_terminated(self.id)

    def stop(self) -> None:
        self.client.set_terminated(self.id, status="KILLED")


def _allowed(name: str) -> str:
    """MLflow takes no @ in a name."""
    return name.replace("@", " at ")


def _experiment(client: "MlflowClient") -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id) if found else str(client.create_experiment(EXPERIMENT))


def _unfinished(client: "MlflowClient", folder: Path) -> str | None:
    for run in client.search_runs([_experiment(client)]):
        if run.data.tags.get(RUN) == str(folder.resolve()) and run.info.status != "FINISHED":
            return str(run.info.run_id)
    return None


def _new_run(client: "MlflowClient", folder: Path) -> str:
    made = client.create_run(_experiment(client), run_name=folder.name, tags={RUN: str(folder.resolve())})
    return str(made.info.run_id)
