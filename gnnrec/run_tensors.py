"""The tensors of a run folder: the graph, the logs and the weights in safetensors files. Needs torch, as little else of
a run does."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.files import KEYS
from gnnrec.models import ClosedFormModel, Embeddings, Model
from gnnrec.ranking import Scorer
from gnnrec.tensor_files import map_tensor, open_tensors
from gnnrec.untrusted import refusing

MANY = 100


def load_tensors(path: Path) -> dict[str, Tensor]:
    with refusing(path), open_tensors(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)


def map_tensors(path: Path) -> dict[str, Tensor]:
    """The same, of a plain file read as they are used: see `tensor_files.map_tensor`."""
    if (path.parent / KEYS).exists():
        return load_tensors(path)
    with refusing(path):
        with open_tensors(path) as file:
            names = list(file.keys())
        return {name: torch.from_numpy(map_tensor(path, name)) for name in names}


def load_weights(model: Model, state: dict[str, Tensor], folder: Path) -> None:
    if isinstance(model, ClosedFormModel):
        model.load_buffers(state)
        return
    for name in model.fitted_buffers:
        if name in state:
            model.register_buffer(name, state[name])
        else:  # a run from before there was such a buffer
            state[name] = model.get_buffer(name)
    try:
        model.load_state_dict(state)
        model.check_fitted()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{folder}/weights.safetensors: does not fit settings.toml and graph.safetensors") from error


def ranks_by_embeddings(scorer: Scorer, embeddings: Embeddings) -> bool:
    """Whether scores are the inner products and nothing else, as seen on MANY users: a model may add to them."""
    users = torch.arange(min(MANY, len(embeddings.user)))
    return torch.allclose(scorer(users), embeddings.user[users] @ embeddings.item.T, rtol=1e-4, atol=1e-5)


def pack_log(name: str, log: Interactions) -> dict[str, Tensor]:
    """Tensors as log/NAME/COLUMN."""
    columns = {"user": log.user, "item": log.item, "timestamp": log.timestamp, "rating": log.rating}
    return {f"log/{name}/{key}": torch.from_numpy(value.copy()) for key, value in columns.items() if value is not None}


def unpack_log(name: str, tensors: dict[str, Tensor], num_users: int, num_items: int) -> Interactions:
    prefix = f"log/{name}/"
    columns = {key.removeprefix(prefix): value.numpy() for key, value in tensors.items() if key.startswith(prefix)}
    return Interactions(num_users=num_users, num_items=num_items, **columns)


def pack_graph(graph: HeteroData) -> dict[str, Tensor]:
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


def unpack_graph(tensors: dict[str, Tensor]) -> HeteroData:
    graph = HeteroData()
    for name, tensor in sorted(tensors.items()):
        kind, *place = name.split("/")
        if kind == "node":
            value: Any = int(tensor) if place[1] == "num_nodes" else tensor
            graph[place[0]][place[1]] = value
        elif kind == "edge":
            graph[place[0], place[1], place[2]][place[3]] = tensor
    return graph
