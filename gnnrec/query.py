"""Scores for an ad-hoc query of text, picture and sound: it joins the graph as a new item, and the model places it.

And for a new user, who joins it with her history.

Letters: U users, I items, d dimensions.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.encoders import encode_query
from gnnrec.encoders.features import Encoder
from gnnrec.errors import UserError
from gnnrec.graph import item_modalities, owners
from gnnrec.graph_growth import add_items, add_user
from gnnrec.models import EmbeddingModel, model_scorer
from gnnrec.run_folder import Run


class ContentQuery:
    """Asks one run; the encoders are kept between queries."""

    def __init__(self, run: Run) -> None:
        """Raises UserError for a model that cannot place new content."""
        model = run.model
        if not isinstance(model, EmbeddingModel) or not model.places_new_items:
            name = run.recipe.model_name
            raise UserError(f"{run.folder}: the model {name} cannot place new content; modality_gnn and tower can")
        if not item_modalities(run.graph):
            raise UserError(f"{run.folder}: was trained without content, so a query has nowhere to go")
        self.run, self.model = run, model
        self.encoders: dict[str, Encoder] = {}

    def score_items(self, text: str | None, image: Path | None, audio: Path | None) -> Tensor:
        """How near each item is to the query. [I]

        The mean of two cosines: of the embeddings, which know who likes what, and of the content itself, so that an
        item's own text, picture or sound finds that item first.
        """
        grown = self.grown(text, image, audio)
        with torch.no_grad():
            unit = F.normalize(self.model(grown).item, dim=1)  # [I + 1, d]
        return (unit[:-1] @ unit[-1] + content_similarity(grown)) / 2

    def score_users(self, text: str | None, image: Path | None, audio: Path | None) -> Tensor:
        """How much each user would like a new item of this content. [U]"""
        with torch.no_grad():
            grown = self.model(self.grown(text, image, audio))
        return grown.user @ grown.item[-1]

    def grown(self, text: str | None, image: Path | None, audio: Path | None) -> HeteroData:
        """The graph of the run with an item of this content at its end."""
        query: dict[str, Any] = {"text": text or None, "image": image, "audio": audio}
        asked = [modality for modality, content in query.items() if content is not None]
        if not asked:
            raise UserError("recommend: the query is empty; expected --user, --item, --text, --image or --audio")
        known = self.run.provenance["encoders"]["items"]
        for modality in asked:
            if known.get(modality, "given") == "given":
                able = ", ".join(name for name, encoder in known.items() if encoder != "given") or "none"
                raise UserError(f"{self.run.folder}: has no encoder of {modality} for a query; allowed: {able}")
        features = encode_query(self.run.recipe.encoders, **query, opened=self.encoders)
        return add_items(self.run.known_graph, features, self.run.recipe.graph)


def score_history(run: Run, items: NDArray[np.int32]) -> Tensor:
    """How much a new user who had these items [n], the last one last, would like each item. [I]

    Raises UserError for a model that knows users by training alone.
    """
    if not run.model.places_new_users:
        raise UserError(f"{run.folder}: the model {run.recipe.model_name} cannot place new users; modality_gnn can")
    graph = add_user(run.known_graph, items)
    return model_scorer(run.model, graph)(torch.tensor([graph["user"].num_nodes - 1]))[0]


def content_similarity(graph: HeteroData) -> Tensor:
    """Cosine of each item's features to those of the last item, mean over the modalities that the last one has. [I - 1]

    An item that lacks a modality has 0 in it.
    """
    last = graph["item"].num_nodes - 1
    similarities = []
    for modality in item_modalities(graph):
        index = owners(graph, modality)
        if index[-1] == last:
            unit = F.normalize(graph[modality].x, dim=1)
            cosine = (unit[:-1] @ unit[-1]).masked_fill(graph[modality].imputed[:-1], 0)
            similarities.append(cosine.new_zeros(last).index_copy(0, index[:-1], cosine))
    return torch.stack(similarities).mean(0)
