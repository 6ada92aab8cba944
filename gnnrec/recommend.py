"""Recommender: lists for known users, for new items, and for ad-hoc queries of text, picture and sound.

Letters: I items, d dimensions, k length of a list.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.encoders import encode_query
from gnnrec.encoders.features import Encoder
from gnnrec.errors import UserError
from gnnrec.graph import add_items, item_modalities, owners
from gnnrec.models import EmbeddingModel, has_embeddings, model_scorer
from gnnrec.ranking import Ranking, embedding_scorer, top_k
from gnnrec.run_folder import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """One place of a list; rank 1 is the best. Scores of one list compare with each other, not with other lists."""

    rank: int
    id: str
    score: float
    title: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Recommender:
    """Answers from a finished run; nothing is trained, nothing is written."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.titles = run.items.titles() if run.items else (None,) * len(run.item_ids)
        self._encoders: dict[str, Encoder] = {}  # kept between queries
        self._user_index = {name: index for index, name in enumerate(run.user_ids)}
        self._item_index = {name: index for index, name in enumerate(run.item_ids)}

    @classmethod
    def load(cls, folder: str | Path) -> "Recommender":
        return cls(Run.load(folder))

    def recommend(self, user: str, k: int = 10) -> list[Recommendation]:
        """The k best items for a known user that she has not interacted with. Raises UserError for an unknown id."""
        index = torch.tensor([_known(self._user_index, user, "user", self.run)])
        if has_embeddings(self.run.model):
            embeddings = self.run.embeddings
            scorer = embedding_scorer(embeddings.user, embeddings.item)
        else:
            scorer = model_scorer(self.run.model, self.run.known_graph)
        return self._list(top_k(scorer, index, _count(k), self.run.known.matrix()))

    def history(self, user: str, k: int = 10) -> list[Recommendation]:
        """The last k items the user had, the newest first; the score is her rating where the log has one, else 1."""
        index = _known(self._user_index, user, "user", self.run)
        log = self.run.known
        rows = np.flatnonzero(log.user == index)[::-1][: _count(k)]
        return [
            Recommendation(
                rank=place + 1,
                id=self.run.item_ids[log.item[row]],
                score=1.0 if log.rating is None else float(log.rating[row]),
                title=self.titles[log.item[row]],
            )
            for place, row in enumerate(rows)
        ]

    def similar_items(self, item: str, k: int = 10) -> list[Recommendation]:
        """The k items nearest to a known one, by cosine of their embeddings."""
        index = _known(self._item_index, item, "item", self.run)
        unit = F.normalize(self.run.embeddings.item, dim=1)
        scores = unit @ unit[index]
        scores[index] = -torch.inf
        return self._best(scores, k)

    def recommend_query(
        self, text: str | None = None, image: Path | None = None, audio: Path | None = None, k: int = 10
    ) -> list[Recommendation]:
        """The k items nearest to an ad-hoc query of any of the three, placed in the item space like a new item.

        The score is the mean of two cosines: of the embeddings, which know who likes what, and of the content itself,
        so that an item's own text, picture or sound finds that item first.
        """
        model = self._content_model()
        grown = self._grown(self.run.known_graph, text, image, audio)
        with torch.no_grad():
            unit = F.normalize(model(grown).item, dim=1)  # [I + 1, d]
        return self._best((unit[:-1] @ unit[-1] + content_similarity(grown)) / 2, k)

    def users_for_query(
        self, text: str | None = None, image: Path | None = None, audio: Path | None = None, k: int = 10
    ) -> list[Recommendation]:
        """The k users who would like a new item of this content best: whom to tell about it."""
        model, graph = self._content_model(), self.run.known_graph
        with torch.no_grad():
            grown = model(self._grown(graph, text, image, audio))
        best = (grown.user @ grown.item[-1]).topk(min(_count(k), len(self.run.user_ids)))
        return [
            Recommendation(rank=place + 1, id=self.run.user_ids[index], score=score)
            for place, (index, score) in enumerate(zip(best.indices.tolist(), best.values.tolist()))
        ]

    def _grown(self, graph: HeteroData, text: str | None, image: Path | None, audio: Path | None) -> HeteroData:
        """`graph` with an item of this content at its end."""
        query: dict[str, Any] = {"text": text or None, "image": image, "audio": audio}
        asked = [modality for modality, content in query.items() if content is not None]
        if not asked:
            raise UserError("recommend: the query is empty; expected --user, --item, --text, --image or --audio")
        encoders = self.run.provenance["encoders"]["items"]
        for modality in asked:
            if encoders.get(modality, "given") == "given":
                able = ", ".join(name for name, encoder in encoders.items() if encoder != "given") or "none"
                raise UserError(f"{self.run.folder}: has no encoder of {modality} for a query; allowed: {able}")
        features = encode_query(self.run.recipe.encoders, **query, opened=self._encoders)
        return add_items(graph, features, self.run.recipe.graph)

    def _content_model(self) -> EmbeddingModel:
        model = self.run.model
        if not isinstance(model, EmbeddingModel) or not model.places_new_items:
            name = self.run.recipe.model_name
            raise UserError(f"{self.run.folder}: the model {name} cannot place new content; modality_gnn can")
        if not item_modalities(self.run.graph):
            raise UserError(f"{self.run.folder}: was trained without content, so a query has nowhere to go")
        return model

    def _best(self, scores: Tensor, k: int) -> list[Recommendation]:
        """The k items of the highest scores [I], those of -inf left out."""
        best = scores.topk(min(_count(k), int((scores > -torch.inf).sum())))
        return self._list(Ranking(torch.zeros(1), best.indices[None], best.values[None]))

    def _list(self, ranking: Ranking) -> list[Recommendation]:
        return [
            Recommendation(rank=place + 1, id=self.run.item_ids[item], score=score, title=self.titles[item])
            for place, (item, score) in enumerate(zip(ranking.items[0].tolist(), ranking.scores[0].tolist()))
            if item >= 0
        ]


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


def _known(index: dict[str, int], name: str, kind: str, run: Run) -> int:
    if name not in index:
        some = ", ".join(list(index)[:3])
        raise UserError(f"{run.folder}: no {kind} with the id {name!r}; there are {len(index):,}, for example {some}")
    return index[name]


def _count(k: int) -> int:
    if k < 1:
        raise UserError(f"recommend -k: found {k}; allowed: 1 or more")
    return k
