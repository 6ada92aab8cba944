"""What the candidates of a list are made of, so that a page can order them anew without asking again.

Letters: K candidates, n nodes of a modality, d dimensions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.graph import item_modalities, nodes_of
from gnnrec.vectors import unit_length


class Content:
    """How near items are to a history by their content alone: the frozen features, nothing that was learnt."""

    def __init__(self, graph: HeteroData) -> None:
        self._nodes: dict[str, tuple[NDArray[np.int64], Tensor, Tensor]] = {}
        for modality in item_modalities(graph):
            found = graph[modality]
            node = nodes_of(graph, modality)
            node[node.ge(0) & found.imputed[node.clamp(min=0)]] = -1  # what was filled in is no content
            self._nodes[modality] = (node.numpy(), found.x, found.scale.nan_to_num(posinf=0.0))

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self._nodes)

    def nearness(self, items: Sequence[int], history: Sequence[int]) -> dict[str, list[float | None]]:
        """Of each modality the cosine of each item to the mean of the history's unit vectors; None where the item has
        no such content, or nothing in the history has. Features are centred by the mean of all items. [K]"""
        found: dict[str, list[float | None]] = {}
        for modality in self._nodes:
            rows, had = self._unit(modality, items), self._unit(modality, history)
            mean = had.sum(0)
            cosine = rows @ unit_length(mean[None])[0]
            known = rows.any(1) & mean.any()
            found[modality] = [round(float(value), 4) if there else None for value, there in zip(cosine, known)]
        return found

    def _unit(self, modality: str, items: Sequence[int]) -> NDArray[np.float32]:
        """Features of these items at length one, zeros where one has none. [K, d]"""
        node, x, scale = self._nodes[modality]
        nodes = node[np.asarray(items, dtype=np.int64)]
        rows = np.zeros((len(nodes), x.shape[1]), dtype=np.float32)
        rows[nodes >= 0] = (x[nodes[nodes >= 0]] * scale).numpy()
        unit: NDArray[np.float32] = unit_length(rows)
        return unit
