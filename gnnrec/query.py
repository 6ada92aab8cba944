"""Scores for an ad-hoc query of text, picture and sound: it joins the graph as a new item, and the model places it.

And for a new user, who joins it with her history.

Letters: U users, I items, d dimensions.
"""

from functools import cached_property
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
from gnnrec.encoders.media import Unreadable
from gnnrec.encoders.requests import Requests
from gnnrec.encoders.speech import SpeechModel, speech_is_here
from gnnrec.errors import UserError
from gnnrec.graph import item_modalities, owners
from gnnrec.graph_growth import add_items, add_user
from gnnrec.models import EmbeddingModel, user_scores
from gnnrec.run_folder import Run

KINDS = ("text", "image", "audio")  # of content that a query may hold


def askable(run: Run) -> tuple[str, ...]:
    """Which of text, image and audio a query of this run may hold; none where its model cannot place new content."""
    model = run.model
    if not isinstance(model, EmbeddingModel) or not model.places_new_items:
        return ()
    if not item_modalities(run.known_graph):
        return ()
    able = set(encoded(run))
    if heard(run) and speech_is_here(run.recipe.encoders.speech):
        able.add("audio")
    return tuple(kind for kind in KINDS if kind in able)


def encoded(run: Run) -> list[str]:
    """The modalities of items that the run has an encoder for; features made elsewhere have none."""
    known: dict[str, str] = run.provenance["encoders"]["items"]
    return [name for name, encoder in known.items() if encoder != "given"]


def heard(run: Run) -> bool:
    """Whether a sound is taken for what is said in it."""
    able = encoded(run)
    return "text" in able and "audio" not in able and run.recipe.encoders.speech != "none"


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

    @cached_property
    def speech(self) -> SpeechModel:
        return SpeechModel(self.run.recipe.encoders.speech)

    def score_items(self, text: str | None, image: Path | None, audio: Path | None) -> Tensor:
        """How near each item is to the query. [I]

        Two cosines, each in standard deviations over the items, since one spreads many times wider than the other: of
        the embeddings, which know who likes what, and of the content itself, so that an item's own text, picture or
        sound finds that item first. Their mean.
        """
        grown = self.grown(text, image, audio, request=True)
        with torch.no_grad():
            unit = F.normalize(self.model.asked(grown).item, dim=1)  # [I + 1, d]
        return (_standardized(unit[:-1] @ unit[-1]) + _standardized(content_similarity(grown))) / 2

    def score_users(self, text: str | None, image: Path | None, audio: Path | None) -> Tensor:
        """How much each user would like a new item of this content. [U]"""
        with torch.no_grad():
            grown = self.model(self.grown(text, image, audio))
        return grown.user @ grown.item[-1]

    def grown(self, text: str | None, image: Path | None, audio: Path | None, *, request: bool = False) -> HeteroData:
        """The graph of the run with an item of this content at its end.

        A sound given to a run that has encoders of text but none of audio is what is said in it, behind the text.
        request: the text asks for items and is none of an item; what all requests have in common is taken from it.
        """
        able = encoded(self.run)
        if audio is not None and heard(self.run):
            text, audio = " ".join(filter(None, (text, self.said(audio)))), None
        text = (text or "").strip()
        query: dict[str, Any] = {"text": text or None, "image": image, "audio": audio}
        asked = [modality for modality, content in query.items() if content is not None]
        if not asked:
            raise UserError("recommend: the query is empty; expected --user, --item, --text, --image or --audio")
        for modality in asked:
            if modality not in able:
                allowed = ", ".join(able) or "none"
                raise UserError(f"{self.run.folder}: has no encoder of {modality} for a query; allowed: {allowed}")
        features = encode_query(self.run.recipe.encoders_in(self.run.folder), **query, opened=self.encoders)
        if request and text:
            # The graph will take the mean of the items from it, which is no mean of requests.
            asked_for = self.requests.taken_from(features["text"])
            features["text"] = asked_for + self.run.graph["text"].mean.numpy()
        return add_items(self.run.known_graph, features, self.run.recipe.graph)

    @cached_property
    def requests(self) -> Requests:
        """By this run's encoder of text, once that is open."""
        return Requests(self.encoders["text"])

    def said(self, audio: Path) -> str:
        """What is said in a sound. Raises UserError where that is nothing, and where no speech model is here."""
        try:
            words = self.speech.transcribe(audio, self.run.recipe.encoders.audio_seconds)
        except (Unreadable, OSError) as error:
            raise UserError(f"{audio}: {error}") from error
        except UserError as error:
            raise UserError(f"{self.run.folder}: has no encoder of audio, and for speech: {error}") from error
        if not words:
            raise UserError(f"{audio}: no speech is heard in it, and {self.run.folder} has no encoder of audio")
        return words


def _standardized(scores: Tensor) -> Tensor:
    """In standard deviations from the mean; all 0 where all are the same."""
    return (scores - scores.mean()) / scores.std(correction=0).clamp(min=1e-12)


def score_history(run: Run, items: NDArray[np.int32]) -> Tensor:
    """How much a new user who had these items [n], the last one last, would like each item. [I]

    Raises UserError for a model that knows users by training alone.
    """
    if not run.model.places_new_users:
        raise UserError(f"{run.folder}: the model {run.recipe.model_name} cannot place new users; modality_gnn can")
    graph = add_user(run.known_graph, items)
    return user_scores(run.model, graph, graph["user"].num_nodes - 1)


def content_similarity(graph: HeteroData) -> Tensor:
    """Cosine of each item's features to those of the last item, mean over the modalities that the last one has. [I - 1]

    Features are centred, not standardized: queries find the right kind of item less often where each dimension of a
    text weighs the same. An item that lacks a modality has 0 in it.
    """
    last = graph["item"].num_nodes - 1
    similarities = []
    for modality in item_modalities(graph):
        index = owners(graph, modality)
        if len(index) and index[-1] == last:  # of a modality that the run knows the catalogue may have nothing
            scale = graph[modality].scale.nan_to_num(posinf=0.0)  # infinite where all items are the same
            unit = F.normalize(graph[modality].x * scale, dim=1)
            cosine = (unit[:-1] @ unit[-1]).masked_fill(graph[modality].imputed[:-1], 0)
            similarities.append(cosine.new_zeros(last).index_copy(0, index[:-1], cosine))
    return torch.stack(similarities).mean(0)
