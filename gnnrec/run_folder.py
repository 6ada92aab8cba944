"""A run on disk: everything to evaluate, export, serve or resume it, rebuilt from its folder alone.

settings.toml            the resolved recipe
run.json                 provenance, sizes, columns; written last: a folder without it is unfinished
weights.safetensors      the model
embeddings.safetensors   user [U, d] and item [I, d], with all known interactions as histories
graph.safetensors        the training graph, and the train and val interactions
items.parquet, users.parquet    ids in index order, and the columns of the catalogue
metrics.json             the evaluation on val
rejected.csv             content that could not be used: file and line that name it, reason, path or text
log.jsonl, tensorboard/  the training
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Generator, Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Catalog, Dataset, Interactions
from gnnrec.errors import UserError
from gnnrec.files import atomic_path, write_json, write_text
from gnnrec.graph import with_interactions
from gnnrec.models import MODELS, ClosedFormModel, Embeddings, Model, has_embeddings
from gnnrec.recipe import Recipe, parse_toml

FORMAT = 1
FILES = (
    *("settings.toml", "run.json", "weights.safetensors", "embeddings.safetensors", "graph.safetensors"),
    *("items.parquet", "users.parquet", "metrics.json", "rejected.csv"),
    *("log.jsonl", "tensorboard", "checkpoint.safetensors"),
)
ID = "__id__"  # the id column of items.parquet and users.parquet, beside the catalogue's own columns


@dataclass(frozen=True)
class Run:
    folder: Path
    recipe: Recipe
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    train: Interactions
    val: Interactions
    items: Catalog | None
    provenance: dict[str, Any]

    @cached_property
    def graph(self) -> HeteroData:
        """The training graph."""
        return _unpack_graph(_load_tensors(self.folder / "graph.safetensors"))

    @cached_property
    def known_graph(self) -> HeteroData:
        """The training graph with train and val interactions as histories: what is known when serving."""
        return with_interactions(self.graph, self.known)

    @cached_property
    def known(self) -> Interactions:
        return join_logs(self.train, self.val)

    @cached_property
    def model(self) -> Model:
        model = MODELS[self.recipe.model_name][0](self.recipe.model, self.graph, Generator())
        _load_weights(model, _load_tensors(self.folder / "weights.safetensors"), self.folder)
        model.eval()
        return model

    @cached_property
    def embeddings(self) -> Embeddings:
        """Of all users and items, with everything known as history. Raises UserError for a model without them."""
        if not has_embeddings(self.model):
            raise UserError(f"{self.folder}: the model {self.recipe.model_name} scores without embeddings")
        tensors = _load_tensors(self.folder / "embeddings.safetensors")
        return Embeddings(tensors["user"], tensors["item"])

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Raises UserError where the folder holds no finished run, or a damaged one."""
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected a run made by gnnrec train")
        if not (folder / "run.json").exists():
            what = "an unfinished run" if (folder / "checkpoint.safetensors").exists() else "no run"
            raise UserError(f"{folder}: holds {what} (run.json is missing); gnnrec train makes or finishes one")
        try:
            provenance = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            text = (folder / "settings.toml").read_text(encoding="utf-8")
            users, items = (pl.read_parquet(folder / f"{name}.parquet") for name in ("users", "items"))
        except (OSError, ValueError, pl.exceptions.PolarsError) as error:
            raise UserError(f"{folder}: damaged run: {str(error).splitlines()[0]}") from error
        found = provenance.get("format") if isinstance(provenance, dict) else None
        if found != FORMAT:
            raise UserError(f"{folder}/run.json: format {found!r}; this version reads {FORMAT}")
        train, val = _load_logs(folder / "graph.safetensors", len(users), len(items))
        return cls(
            folder=folder,
            recipe=Recipe.from_dict(parse_toml(text, f"{folder}/settings.toml"), f"{folder}/settings.toml"),
            user_ids=tuple(users[ID]),
            item_ids=tuple(items[ID]),
            train=train,
            val=val,
            items=_load_catalog(items.drop(ID), provenance["items"]),
            provenance=provenance,
        )


def save_run(
    folder: Path,
    recipe: Recipe,
    dataset: Dataset,
    graph: HeteroData,
    train: Interactions,
    val: Interactions,
    model: Model,
    metrics: dict[str, Any],
    provenance: dict[str, Any],
) -> Run:
    """Write everything, run.json last, and read it back."""
    write_text(folder / "settings.toml", recipe.to_toml())
    _save_tensors(folder / "weights.safetensors", dict(model.state_dict()))
    if has_embeddings(model):
        model.eval()
        with torch.no_grad():
            embeddings = model(with_interactions(graph, join_logs(train, val)))
        _save_tensors(folder / "embeddings.safetensors", {"user": embeddings.user, "item": embeddings.item})
    _save_tensors(folder / "graph.safetensors", _pack_graph(graph) | _pack_log("train", train) | _pack_log("val", val))
    for name, ids, catalog in (("users", dataset.user_ids, dataset.users), ("items", dataset.item_ids, dataset.items)):
        table = pl.DataFrame({ID: list(ids)}, schema={ID: pl.String})
        if catalog is not None:
            table = table.hstack(catalog.table)
            for modality, paths in (catalog.media or {}).items():
                table = table.with_columns(_path_column(modality, paths))
        with atomic_path(folder / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)
    write_json(folder / "metrics.json", metrics)
    items = None
    if dataset.items is not None:
        items = {"text": list(dataset.items.text_columns), "media": sorted(dataset.items.media or {})}
    write_json(folder / "run.json", {"format": FORMAT, **provenance, "items": items})
    return Run.load(folder)


def save_rejected(folder: Path, rejected: pl.DataFrame) -> None:
    """Of content only: a row of the log that was set aside may be a test row, and a run holds none."""
    with atomic_path(folder / "rejected.csv") as temporary:
        rejected.write_csv(temporary)


def join_logs(first: Interactions, second: Interactions) -> Interactions:
    """Both logs as one, in order of time where there are timestamps."""
    columns: dict[str, Any] = {}
    for name in ("user", "item", "timestamp", "rating"):
        parts = getattr(first, name), getattr(second, name)
        columns[name] = None if parts[0] is None else np.concatenate(parts)
    if columns["timestamp"] is not None:
        order = np.argsort(columns["timestamp"], kind="stable")
        columns = {name: None if column is None else column[order] for name, column in columns.items()}
    return Interactions(num_users=first.num_users, num_items=first.num_items, **columns)


def _path_column(modality: str, paths: tuple[Path | None, ...]) -> pl.Series:
    return pl.Series(f"__{modality}__", [None if path is None else str(path) for path in paths], dtype=pl.String)


def _load_catalog(table: pl.DataFrame, columns: dict[str, list[str]] | None) -> Catalog | None:
    if columns is None:
        return None
    media = {
        modality: tuple(None if path is None else Path(path) for path in table[f"__{modality}__"])
        for modality in columns["media"]
    }
    shown = table.drop([f"__{modality}__" for modality in media])
    return Catalog(table=shown, text_columns=tuple(columns["text"]), media=media)


def _save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    # Clones, since safetensors refuses tensors that share memory.
    with atomic_path(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, temporary)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: damaged or missing: {error}") from error


def _load_weights(model: Model, state: dict[str, Tensor], folder: Path) -> None:
    if isinstance(model, ClosedFormModel):
        model.load_buffers(state)
        return
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{folder}/weights.safetensors: does not fit settings.toml and graph.safetensors") from error


def _pack_log(name: str, log: Interactions) -> dict[str, Tensor]:
    columns = {"user": log.user, "item": log.item, "timestamp": log.timestamp, "rating": log.rating}
    return {f"log/{name}/{key}": torch.from_numpy(value.copy()) for key, value in columns.items() if value is not None}


def _load_logs(path: Path, num_users: int, num_items: int) -> tuple[Interactions, Interactions]:
    logs: dict[str, dict[str, Any]] = {"train": {}, "val": {}}
    try:
        with safe_open(path, framework="np") as file:
            for key in file.keys():  # noqa: SIM118 (not a dict)
                if key.startswith("log/"):
                    _, name, column = key.split("/")
                    logs[name][column] = file.get_tensor(key)
        train, val = (Interactions(num_users=num_users, num_items=num_items, **logs[name]) for name in logs)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged or missing: {error}") from error
    return train, val


def _pack_graph(graph: HeteroData) -> dict[str, Tensor]:
    """Tensors only, as node/TYPE/KEY and edge/SOURCE/RELATION/TARGET/KEY; cached operators are made anew."""
    tensors = {}
    for node_type in graph.node_types:
        for key, value in graph[node_type].items():
            tensors[f"node/{node_type}/{key}"] = torch.as_tensor(value)
    for edge_type in graph.edge_types:
        for key, value in graph[edge_type].items():
            if isinstance(value, Tensor):
                tensors["/".join(("edge", *edge_type, key))] = value
    return tensors


def _unpack_graph(tensors: dict[str, Tensor]) -> HeteroData:
    graph = HeteroData()
    for name, tensor in sorted(tensors.items()):
        kind, *place = name.split("/")
        if kind == "node":
            value: Any = int(tensor) if place[1] == "num_nodes" else tensor
            graph[place[0]][place[1]] = value
        elif kind == "edge":
            graph[place[0], place[1], place[2]][place[3]] = tensor
    return graph
