"""Explainer: why a user gets an item, as evidence, shares of the modalities, sentences, and a test of all of it."""

from functools import cached_property
from typing import Any

import numpy as np

from gnnrec.graph import item_modalities
from gnnrec.language.sanitize import visible
from gnnrec.language.server import Server
from gnnrec.llm.evidence import Evidence, EvidenceFinder
from gnnrec.llm.phrase import Phraser
from gnnrec.llm.sentences import Sentence, explain, worth_telling
from gnnrec.models.modality_gnn import ModalityGNN
from gnnrec.removal import without_interactions
from gnnrec.run_folder import Run

DRAWS = 20  # random removals that the evidence is held against


class Explainer:
    """`server`: a language model that phrases the sentences; without one the templates stand as they are."""

    def __init__(self, run: Run, server: Server | None = None) -> None:
        self.run = run
        self.phraser: Phraser | None = None
        if server is not None:
            titles = sorted({self.title(item) for item in range(len(run.item_ids))})
            self.phraser = Phraser(server, self.title, titles)

    @cached_property
    def _finder(self) -> EvidenceFinder:
        return EvidenceFinder(self.run)

    def evidence(self, user: int, item: int) -> list[Evidence]:
        """Of one recommendation (indexes), the strongest piece first."""
        return self._finder.find(user, item)

    def reasons(self, user: str, item: str) -> dict[str, Any]:
        """For JSON: one or two sentences that name only what is in the graph (none where nothing there speaks for the
        item), and the pieces of evidence that they name. Raises UserError for unknown ids."""
        who, what = self.run.user_index(user), self.run.item_index(item)
        pieces = self.evidence(who, what)
        sentences = self._in_words(pieces, what)
        named = {name for sentence in sentences for name in sentence.evidence}
        return {
            "explanation": [sentence.to_json() for sentence in sentences],
            "evidence": [self._row(piece) for piece in pieces if piece.id in named],
        }

    def _in_words(self, pieces: list[Evidence], item: int) -> list[Sentence]:
        sentences = explain(pieces, self.title)
        return self.phraser.phrase(sentences, pieces, item) if self.phraser else sentences

    def title(self, item: int) -> str:
        """The item's name as people see it; “item” and its id where it has none."""
        title = self._titles[item]
        return (visible(title) if title else "") or f"item {self.run.item_ids[item]}"

    @cached_property
    def _titles(self) -> tuple[str | None, ...]:
        return self.run.items.titles() if self.run.items else (None,) * len(self.run.item_ids)

    def explain(self, user: str, item: str, counterfactual: bool = False) -> dict[str, Any]:
        """Everything known about one recommendation, for JSON. Raises UserError for unknown ids."""
        who, what = self.run.user_index(user), self.run.item_index(item)
        pieces = self._finder.find(who, what)
        document: dict[str, Any] = {
            "user": user,
            "item": item,
            "title": self.title(what),
            "had": bool(((self.run.known.user == who) & (self.run.known.item == what)).any()),
            "score": self._finder.score(who, what),
            "explanation": [sentence.to_json() for sentence in self._in_words(pieces, what)],
            "evidence": [self._row(piece) for piece in pieces],
            "paths": [{"path": list(kind.path), "drop": kind.drop} for kind in self._finder.paths(who, what)],
            "modalities": self.shares(what, pieces),
        }
        if counterfactual:
            document["counterfactual"] = self.held_against_chance(who, what, pieces)
        return document

    def shares(self, item: int, pieces: list[Evidence]) -> dict[str, dict[str, float]]:
        """Of each modality of the item: the weight it got in the fusion, and its share of what content adds."""
        drops = {piece.modality: max(piece.drop, 0.0) for piece in pieces if piece.kind == "content"}
        total = sum(drops.values())
        shares = {
            str(modality): {"drop_share": drop / total if total else 0.0} for modality, drop in sorted(drops.items())
        }
        if isinstance(self.run.model, ModalityGNN) and shares:
            weights = self.run.model.modality_weights(self._finder.graph)[0][item].tolist()
            for modality, weight in zip(item_modalities(self._finder.graph), weights):
                shares.setdefault(modality, {"drop_share": 0.0})["attention"] = float(weight)
        return shares

    def held_against_chance(
        self, user: int, item: int, pieces: list[Evidence], seed: int = 0, draws: int = DRAWS
    ) -> dict[str, Any]:
        """How far the score falls without the told things of her past, and without as many others drawn at random."""
        told = [piece.item for piece in worth_telling(pieces) if piece.item is not None]
        others = sorted(set(self.run.known.item[self.run.known.user == user].tolist()) - set(told))
        whole, graph = self._finder.score(user, item), self._finder.graph
        if not told or len(others) < len(told):
            return {"removed": 0, "drop": 0.0, "random_drops": []}
        random = np.random.default_rng(seed)
        drawn = [random.choice(others, len(told), replace=False).tolist() for _ in range(draws)]
        return {
            "removed": len(told),
            "drop": whole - self._finder.score(user, item, without_interactions(graph, user, told)),
            "random_drops": [
                whole - self._finder.score(user, item, without_interactions(graph, user, some)) for some in drawn
            ],
        }

    def _row(self, piece: Evidence) -> dict[str, Any]:
        row: dict[str, Any] = {"id": piece.id, "kind": piece.kind, "drop": piece.drop, "path": list(piece.path)}
        if piece.item is not None:
            row |= {"title": self.title(piece.item), "rating": piece.rating, "users_with_both": piece.common}
            row["alike"] = dict(piece.alike)
        return row
