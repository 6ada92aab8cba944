"""The content of a graph's items carried over its interactions once, for models that pass no messages themselves."""

import hashlib
from pathlib import Path

import numpy as np
from torch_geometric.data import HeteroData

from gnnrec.encoders.pretrained import cache_root
from gnnrec.graph import INTERACTS, REV_INTERACTS, item_modalities, operator, owners
from gnnrec.sampling.csr import CSR, Array
from gnnrec.sampling.hops import Hops, make_hops

IN_MEMORY = 2**30  # bytes; hops that would be larger are files in the cache, named by the content that made them


def hops_of(graph: HeteroData, num_hops: int) -> Hops:
    """Hops 0 to `num_hops` of all modalities side by side [I, d], missing content as zeros. Of a piece its own rows.

    Made once per graph and kept beside the interactions, as long as these and the content are the same.
    """
    store, key = graph[INTERACTS], f"hops_{num_hops}"
    if "hops" in graph["item"]:
        return Hops(graph["user"].hops, graph["item"].hops)
    contents = [graph[name].x for name in item_modalities(graph)]
    if key in store and len(store[key][0]) == len(contents) and all(a is b for a, b in zip(store[key][0], contents)):
        found: Hops = store[key][1]
        return found
    rows = np.zeros((graph["item"].num_nodes, sum(x.shape[1] for x in contents)), dtype=np.float32)
    begin = 0
    for name, x in zip(item_modalities(graph), contents):
        rows[owners(graph, name).cpu().numpy(), begin : begin + x.shape[1]] = x.cpu().numpy()
        begin += x.shape[1]
    to_user, to_item = _csr(graph, REV_INTERACTS), _csr(graph, INTERACTS)
    size = 4 * rows.shape[1] * num_hops * max(to_user.num_rows, to_item.num_rows)
    made = make_hops(to_user, to_item, rows, num_hops, _folder(to_user, rows) if size > IN_MEMORY else None)
    store[key] = (contents, made)
    return made


def _csr(graph: HeteroData, kind: tuple[str, str, str]) -> CSR:
    made = operator(graph, kind, "none")
    return CSR(made.offsets.cpu().numpy(), made.columns.cpu().numpy(), made.shape[1])


def _folder(csr: CSR, rows: Array) -> Path:
    """By the content of the graph and of the features: another graph never finds these files."""
    digest = hashlib.sha256(f"{rows.shape} {csr.num_rows}".encode())
    for part in (csr.offsets, csr.columns, rows):
        digest.update(np.ascontiguousarray(part).data)
    return cache_root() / "hops" / digest.hexdigest()
