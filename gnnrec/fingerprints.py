"""Which data it is: sha256 of ids and log, of what items and users are made of, of a graph's content."""

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset
from gnnrec.files import sha256_of_file
from gnnrec.graph import item_modalities, user_modalities


def fingerprint(dataset: Dataset) -> str:
    """sha256 of the ids and the log: the same data in another order of rows has the same one (given timestamps)."""
    digest = hashlib.sha256()
    for ids in (dataset.user_ids, dataset.item_ids):
        digest.update("\n".join(ids).encode())
    log = dataset.interactions
    for column in (log.user, log.item, log.timestamp, log.rating, dataset.published_split):
        digest.update(b"-" if column is None else _bytes(column))
    return digest.hexdigest()


def catalog_fingerprint(dataset: Dataset) -> str:
    """sha256 of what items and users are made of: texts, files of pictures and sounds, given features, friends."""
    digest = hashlib.sha256()
    for catalog in (dataset.items, dataset.users):
        digest.update(json.dumps(catalog.text() if catalog else None).encode())
        for modality, paths in ((catalog.media or {}) if catalog else {}).items():
            files = [sha256_of_file(path) if path is not None and path.is_file() else None for path in paths]
            digest.update(json.dumps([modality, files]).encode())
    for features in (dataset.item_features, dataset.user_features):
        for modality, values in features.items():
            digest.update(modality.encode())
            digest.update(_bytes(values))
    if dataset.friends is not None:
        digest.update(_bytes(dataset.friends))
    return digest.hexdigest()


def content_fingerprint(graph: HeteroData) -> str:
    """sha256 of the features of the modality nodes and of all edges: whose content it is, what is near."""
    digest = hashlib.sha256()
    for modality in (*item_modalities(graph), *user_modalities(graph)):
        digest.update(modality.encode())
        digest.update(_bytes(graph[modality].x.numpy()))
    for edge_type in sorted(graph.edge_types):
        digest.update("/".join(edge_type).encode())
        digest.update(_bytes(graph[edge_type].edge_index.numpy()))
    return digest.hexdigest()


def _bytes(values: NDArray[Any]) -> memoryview:
    """Of an array in row order, without a copy where it is in that order."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
