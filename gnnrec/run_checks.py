"""What a run folder says of itself, held against what it may say: it may be somebody else's.

It names no file outside itself but the dataset's, asks for no more memory than its own files are large, and has all
that later code takes from it.
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError, count
from gnnrec.untrusted import refusing

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

ID = "__id__"  # the id column of items.parquet and users.parquet, beside the catalogue's own columns
TEXT, NUMBER = (str,), (int, float)
TOLD: dict[tuple[str, ...], tuple[type, ...]] = {  # what the product reads of run.json, and of which types
    ("items",): (dict, type(None)),
    ("by_embeddings",): (bool,),
    ("settings_sha256",): TEXT,
    ("dataset",): (dict,),
    ("dataset", "name"): TEXT,
    ("dataset", "path"): TEXT,
    ("dataset", "fingerprint"): TEXT,
    ("dataset", "licence"): (str, type(None)),
    ("split",): (dict,),
    ("split", "method"): TEXT,
    ("encoders",): (dict,),
    ("encoders", "items"): (dict,),
    ("encoders", "users"): (dict,),
    ("best_epoch",): (int,),
    ("epochs",): (int,),
    ("training_seconds",): NUMBER,
    ("total_seconds",): NUMBER,
    ("finished",): TEXT,
}
STEP: dict[str, type] = {"verb": str, "folder": str, "settings": str, "partitions": int, "fingerprint": str}
TIMES_DISK = 64  # how much more memory than its files a run may want
WIDEST = 1 << 20  # numbers of a user or an item, of whom one row is read at a time


def check_provenance(document: dict[str, Any], path: Path) -> None:
    """Raises UserError for a run.json that lacks something, or has another type of it."""
    for keys, kinds in TOLD.items():
        found: Any = document
        for key in keys:
            found = found.get(key, ...) if isinstance(found, dict) else ...
        if not isinstance(found, kinds):
            names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
            raise UserError(f"{path}: {'.'.join(keys)}: found {str(found)[:40]!r}; expected {names}")
    feedback = document["dataset"].get("feedback")
    if feedback is not None and not (
        isinstance(feedback, dict)
        and isinstance(feedback.get("path"), str)
        and isinstance(feedback.get("num_events"), int)
    ):
        raise UserError(f"{path}: dataset.feedback: expected path and num_events")
    scale = document["dataset"].get("rating_scale")
    if scale is not None and not (
        isinstance(scale, list) and len(scale) == 2 and all(isinstance(end, int | float) for end in scale)
    ):
        raise UserError(f"{path}: dataset.rating_scale: expected the lowest and the highest rating")
    steps = document.get("earlier", [])
    if not (isinstance(steps, list) and all(_is_step(one) for one in steps)):
        raise UserError(f"{path}: earlier: expected a list of steps, each with {', '.join(STEP)}")
    columns = document["items"]
    if columns is not None and not all(
        isinstance(columns.get(key), list) and all(isinstance(name, str) for name in columns[key])
        for key in ("text", "media")
    ):
        raise UserError(f"{path}: items: expected lists of text and media columns")


def _is_step(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and found.keys() == STEP.keys()
        and all(isinstance(found[name], kind) for name, kind in STEP.items())
    )


def check_metrics(document: dict[str, Any], path: Path) -> None:
    """Raises UserError for a metrics.json with anything but figures, each with its interval."""
    figures, intervals = document.get("metrics", {}), document.get("confidence", {})
    if not (isinstance(figures, dict) and isinstance(intervals, dict)):
        raise UserError(f"{path}: expected objects metrics and confidence")
    for name, figure in figures.items():
        interval = intervals.get(name)
        if not (isinstance(interval, list) and len(interval) == 2):
            raise UserError(f"{path}: confidence.{name}: found {str(interval)[:40]!r}; expected two numbers")
        if not all(isinstance(number, int | float) for number in (figure, *interval)):
            raise UserError(f"{path}: {name}: found {str([figure, *interval])[:60]!r}; expected numbers")


def media_paths(names: Sequence[str | None], root: str, where: str) -> tuple[Path | None, ...]:
    """Paths of pictures or sounds, which have to be in the folder of the dataset.

    They are shown by `serve` and stand in reports, so that a run folder from elsewhere could else ask for anything on
    this disk. Where there is no dataset at `root`, all of them are missing.
    """
    inside = root.rstrip(os.sep) + os.sep
    for name in names:
        if name is not None and (not name.startswith(inside) or ".." in Path(name).parts or "\0" in name):
            raise UserError(f"{where}: {name[:200]!r} is outside the folder of the dataset, {root}")
    from gnnrec.datasets.sources import find_reader

    try:
        find_reader(Path(root))
    except (UserError, OSError, ValueError):
        return (None,) * len(names)
    return tuple(None if name is None else Path(name) for name in names)


def check_graph(graph: "HeteroData", num_users: int, num_items: int) -> None:
    """Raises ValueError where nodes are not as many as ids, something is not there that each graph has, or an edge ends
    at no node: kernels do not look."""
    from gnnrec.graph import INTERACTS, REV_INTERACTS

    for name, size in (("user", num_users), ("item", num_items)):
        if graph[name].num_nodes != size:
            raise ValueError(f"{graph[name].num_nodes:,} {name} nodes, but {size:,} ids")
    for name in set(graph.node_types) - {"user", "item"}:
        _check_content(graph, name)
    for edge_type in (INTERACTS, REV_INTERACTS, *graph.edge_types):
        _check_edges(graph, edge_type)


def _check_content(graph: "HeteroData", name: str) -> None:
    """Each modality has a row of features a node, their mean and scale, and edges to and from whom they are of."""
    nodes, owner = graph[name], "user" if name.startswith("user_") else "item"
    held = {key: nodes[key].shape for key in ("x", "imputed", "mean", "scale") if key in nodes}
    size, dim = held["x"] if len(held.get("x", ())) == 2 else (-1, -1)
    if held != {"x": (nodes.num_nodes, dim), "imputed": (size,), "mean": (dim,), "scale": (dim,)}:
        raise ValueError(f"{name} nodes without features, or with others than x, imputed, mean and scale")
    there, back = (owner, f"has_{name}", name), (name, f"rev_has_{name}", owner)
    if there not in graph.edge_types or back not in graph.edge_types:
        raise ValueError(f"{name} nodes without edges from {owner} nodes and back")
    if graph[there].get("edge_index") is None or graph[there].edge_index.shape[-1] != size:
        raise ValueError(f"{name} nodes: expected one edge each from {owner} nodes")


def _check_edges(graph: "HeteroData", edge_type: tuple[str, str, str]) -> None:
    source, relation, target = edge_type
    store = graph[edge_type]
    edges = store.get("edge_index")
    if edges is None or edges.ndim != 2 or len(edges) != 2 or edges.is_floating_point():
        raise ValueError(f"{relation}: edges of shape {None if edges is None else tuple(edges.shape)}")
    for row, end in zip(edges, (source, target)):
        if row.numel() and not 0 <= int(row.min()) <= int(row.max()) < graph[end].num_nodes:
            raise ValueError(f"{relation}: an edge ends at no {end}")
    for name in ("time", "edge_weight"):
        if name in store and store[name].shape != (edges.shape[1],):
            raise ValueError(f"{relation}: {name} of shape {tuple(store[name].shape)} for {edges.shape[1]:,} edges")


def check_memory(settings: Any, rows: int, folder: Path) -> None:
    """Raises UserError for a model of `rows` users and items that would be many times what the run has on disk."""
    numbers = [value for field in dataclasses.fields(settings) if type(value := getattr(settings, field.name)) is int]
    size = 4 * rows * max(numbers, default=0)
    disk = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if size > TIMES_DISK * disk:
        raise UserError(
            f"{folder}/settings.toml: model: a setting of {max(numbers):,} for {rows:,} users and items, but all "
            f"tensors of the run are {disk:,} bytes; the files are of different runs"
        )


def check_rows(path: Path, key: str, shape: Sequence[int], size: int) -> None:
    """Raises UserError for a stored array of another number of rows than there are ids, or with rows of no believable
    length: a file with holes costs nobody any disk."""
    if not shape or math.prod(shape[1:]) > WIDEST:
        raise UserError(f"{path}: {key}: found the shape {list(shape)}; expected rows of at most {WIDEST:,} numbers")
    if shape[0] != size:
        held = f"{count(shape[0], 'row')} of {key}, but {count(size, 'id')}"
        raise UserError(f"{path}: {held}; the files are of different runs")


def check_lists(
    run: Path, parts: Iterable[NDArray[Any]], num_items: int, most: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Items and scores [n, at most `most`]. Raises UserError where the two parts are anything but places of items, -1
    behind the last, and a score for each. No number is read of lists that are longer."""
    items, scores = parts
    path = run / "lists.safetensors"
    if items.shape != scores.shape or items.ndim != 2 or (items.dtype, scores.dtype) != (np.int32, np.float32):
        found = f"{items.dtype} {list(items.shape)} and {scores.dtype} {list(scores.shape)}"
        raise UserError(f"{path}: item and score: found {found}; expected int32 and float32, a row a user")
    if items.shape[1] > most:
        raise UserError(f"{path}: item: found lists of {items.shape[1]:,}; expected {most} at most")
    if items.size and not (items.min() >= -1 and items.max() < num_items):
        raise UserError(f"{path}: item: found {items.min()} to {items.max()}; expected -1 to {num_items - 1}")
    return items, scores


def load_ids(table: pl.DataFrame, path: Path) -> tuple[str, ...]:
    """Raises UserError where they are no ids: each is a text of its own."""
    with refusing(path):
        ids = table[ID]
        if ids.dtype != pl.String or ids.null_count() or ids.n_unique() != len(ids):
            raise ValueError("ids are texts, each of its own")
        return tuple(ids)


def load_catalog(table: pl.DataFrame, provenance: dict[str, Any], folder: Path) -> Catalog | None:
    columns = provenance["items"]
    if columns is None:
        return None
    path, root = folder / "items.parquet", provenance["dataset"]["path"]
    with refusing(path, "does not fit run.json"):
        media = {
            modality: media_paths(table[f"__{modality}__"].to_list(), root, str(path)) for modality in columns["media"]
        }
        shown = table.drop(ID, *(f"__{modality}__" for modality in media))
        for name in columns["text"]:
            shown[name].cast(pl.String)  # what is no text raises here
        return Catalog(table=shown, text_columns=tuple(columns["text"]), media=media)
