"""What there is to say of a dataset and of a run, in numbers and words that JSON can hold."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec.datasets import Catalog, Dataset, Interactions, split_report
from gnnrec.encoders import check_media
from gnnrec.errors import count
from gnnrec.graph import item_modalities
from gnnrec.models.modality_gnn import ModalityGNN
from gnnrec.pipeline import split_method
from gnnrec.private_runs import private_line
from gnnrec.recipe import Recipe
from gnnrec.run_folder import Run

Facts = dict[str, Any]  # section -> facts by name, or a list of rows with the same keys

FIRST_LINES = 5  # of the rejected rows of one reason
MOST_BARS = 20  # of the ratings, before they are counted in bins


def describe_dataset(dataset: Dataset) -> Facts:
    log = dataset.interactions
    facts: Facts = {
        "dataset": {"name": dataset.name, "folder": str(dataset.root), "licence": dataset.licence or None},
        "log": describe_log(log) | {"rows_below_min_rating": dataset.below_min_rating},
        "ratings": [] if log.rating is None else rating_bars(log.rating),
        "content": [
            *describe_content("items", dataset.items, dataset.item_features),
            *describe_content("users", dataset.users, dataset.user_features),
        ],
        "set_aside": rejected_by_reason(pl.concat([dataset.rejected, check_media(dataset)])),
    }
    if dataset.friends is not None:
        facts["log"]["pairs_of_friends"] = dataset.friends.shape[1]
    default = split_method(dataset, Recipe())
    facts["splits"] = [row | {"default": row["method"] == default} for row in split_report(dataset).to_dicts()]
    return facts


def describe_log(log: Interactions) -> Facts:
    users, items = counts(log.user, log.num_users), counts(log.item, log.num_items)
    pairs = log.matrix().nnz
    facts: Facts = {
        "users": log.num_users,
        "items": log.num_items,
        "interactions": len(log),
        "density": pairs / max(log.num_users * log.num_items, 1),
        "repeated_pairs": len(log) - pairs,
        "interactions_of_a_user": spread(users),
        "interactions_of_an_item": spread(items),
        "items_without_any": int((items == 0).sum()),
    }
    if log.timestamp is not None and len(log):
        facts["first"], facts["last"] = (
            datetime.fromtimestamp(int(second), UTC).isoformat(timespec="seconds") for second in log.timestamp[[0, -1]]
        )
        facts["days"] = int(log.timestamp[-1] - log.timestamp[0]) // 86_400
    return facts


def counts(index: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    return np.bincount(index, minlength=size)


def spread(values: NDArray[np.int64]) -> Facts:
    """Least, median, mean and most."""
    if not len(values):
        return {}
    return {
        "least": int(values.min()),
        "median": int(np.median(values)),
        "mean": float(values.mean()),
        "most": int(values.max()),
    }


def rating_bars(rating: NDArray[np.float32]) -> list[Facts]:
    """How often each rating was given; ratings of more than MOST_BARS kinds are counted in ten equal bins."""
    values, rows = np.unique(rating, return_counts=True)
    names = [f"{value:g}" for value in values]
    if len(values) > MOST_BARS:
        rows, edges = np.histogram(rating, 10)
        names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [{"rating": name, "rows": int(row), "share": float(row / len(rating))} for name, row in zip(names, rows)]


def describe_content(owner: str, catalog: Catalog | None, features: Any) -> list[Facts]:
    """How many rows have content of each modality, in columns of the catalogue and in features made elsewhere."""
    rows = []
    for modality in catalog.modalities() if catalog else ():
        assert catalog is not None
        contents = catalog.content(modality)
        present = sum(content is not None for content in contents)
        source = f"columns {', '.join(catalog.text_columns)}" if modality == "text" else "files"
        rows.append(coverage(owner, modality, len(contents), present, source))
    for modality, values in features.items():
        present = int(np.isfinite(values).all(axis=1).sum())
        source = f"features made elsewhere, {count(values.shape[1], 'dimension')}"
        rows.append(coverage(owner, modality, len(values), present, source))
    return rows


def coverage(owner: str, modality: str, size: int, present: int, source: str) -> Facts:
    share = present / size
    return {"owner": owner, "modality": modality, "rows": size, "present": present, "share": share, "from": source}


def rejected_by_reason(rejected: pl.DataFrame) -> list[Facts]:
    """The rows set aside, by file and reason, the most frequent first, with the first lines of each."""
    groups = rejected.group_by("file", "reason", maintain_order=True).agg(
        pl.len().alias("rows"),
        pl.col("line").sort().head(FIRST_LINES).alias("first_lines"),
        pl.col("value").head(FIRST_LINES).alias("values"),
    )
    return groups.sort("rows", descending=True, maintain_order=True).to_dicts()


def describe_run(run: Run) -> Facts:
    told = run.provenance
    facts: Facts = {
        "run": {
            "folder": str(run.folder),
            "model": run.recipe.model_name,
            "dataset": f"{told['dataset']['name']}, {told['dataset']['path']}",
            "split": f"{told['split']['method']}, train {len(run.train):,}, val {len(run.val):,}",
            "epochs": told["epochs"],
            "kept_epoch": told["best_epoch"],
            "training_seconds": told["training_seconds"],
            "finished": told["finished"],
            **({"privacy": private_line(told["privacy"])} if "privacy" in told else {}),
            "users_due_to_be_forgotten": len(run.refused),
        },
        "graph_nodes": node_rows(run.graph),
        "graph_edges": edge_rows(run.graph),
        "modality_weights": modality_weights(run),
        "validation": validation(run),
        "settings": {
            f"{section}.{key}": value for section, part in run.recipe.to_dict().items() for key, value in part.items()
        },
        "provenance": provenance(run),
    }
    return facts


def validation(run: Run) -> dict[str, float]:
    """The metrics on val; empty for a split without one."""
    metrics: dict[str, float] = run.metrics.get("metrics", {})
    return metrics


def provenance(run: Run) -> Facts:
    """Everything that the run recorded about how it was made, in one level."""
    told = run.provenance
    return {
        "command": told["command"],
        "data_sha256": told["dataset"]["fingerprint"],
        "licence_of_the_data": told["dataset"]["licence"] or None,
        "rows_set_aside": told["dataset"]["rejected_rows"],
        "unusable_content": told.get("unusable_content"),  # not in runs of the first days
        **{f"{owner}_{name}": encoder for owner, part in told["encoders"].items() for name, encoder in part.items()},
        "versions": told["versions"],
        "machine": told["machine"],
    }


def node_rows(graph: HeteroData) -> list[Facts]:
    rows = []
    for name in graph.node_types:
        nodes = graph[name]
        imputed = int(nodes.imputed.sum()) if "imputed" in nodes else 0
        dimensions = nodes.x.shape[1] if "x" in nodes else None
        rows.append({"node_type": name, "nodes": nodes.num_nodes, "dimensions": dimensions, "filled_in": imputed})
    return rows


def edge_rows(graph: HeteroData) -> list[Facts]:
    return [
        {
            "source": source,
            "relation": relation,
            "target": target,
            "edges": graph[source, relation, target].edge_index.shape[1],
            "mean_degree": graph[source, relation, target].edge_index.shape[1] / max(graph[target].num_nodes, 1),
        }
        for source, relation, target in graph.edge_types
    ]


def modality_weights(run: Run) -> dict[str, float]:
    """What each modality weighs on the mean, over the items that have any; empty for a model that does not fuse."""
    names = item_modalities(run.graph)
    if not isinstance(run.model, ModalityGNN) or not names:
        return {}
    weights, mask = run.model.modality_weights(run.known_graph)
    return dict(zip(names, weights[mask.any(1)].mean(0).tolist()))
