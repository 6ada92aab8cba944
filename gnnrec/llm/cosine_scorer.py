"""CosineScorer: how near a candidate's text feature is to those of the user's newest things. No language model runs.

The features are those of the graph (any text encoder), standardized there. It is what a language model has to beat,
and often what helps most (docs/words.md).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec.errors import UserError
from gnnrec.graph import item_modalities, owners
from gnnrec.llm.past import Past

MODALITY = "text"


class CosineScorer:
    """nan for candidates without a text of their own, and for users none of whose newest things has one."""

    def __init__(self, graph: HeteroData, history: int) -> None:
        if MODALITY not in item_modalities(graph):
            raise UserError(f"llm.scorer cosine: the run knows no {MODALITY} of its items")
        self.name, self.history = f"cosine {history}", history
        self.failures: list[str] = []
        own = ~graph[MODALITY].imputed
        unit = np.full((graph["item"].num_nodes, graph[MODALITY].x.shape[1]), np.nan)
        rows = graph[MODALITY].x[own].double().numpy()
        unit[owners(graph, MODALITY)[own].numpy()] = rows / np.maximum(
            np.linalg.norm(rows, axis=1, keepdims=True), 1e-9
        )
        self._unit = unit  # [I, d]

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int] = ()
    ) -> list[NDArray[np.float64]]:
        """Cosines with the mean direction of the newest things that have a text. [N] each"""
        return [self._unit[list(window)] @ self._taste(history) for history, window in zip(histories, windows)]

    def _taste(self, history: Past) -> NDArray[np.float64]:
        rows = self._unit[list(history.items[-self.history :])]
        known = rows[~np.isnan(rows).any(axis=1)]
        if not len(known):
            return np.full(self._unit.shape[1], np.nan)
        mean: NDArray[np.float64] = known.mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-9)
