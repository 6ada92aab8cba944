"""Evidence is causal: what is told of lowers the score when it is taken out, and more than chance does (G13)."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.llm.evidence import EvidenceFinder
from gnnrec.llm.explainer import DRAWS, Explainer
from gnnrec.models import model_scorer
from gnnrec.run_folder import Run


def best_items(run: Run, user: int, k: int = 3) -> list[int]:
    scores = model_scorer(run.model, run.known_graph)(torch.tensor([user]))[0]
    scores[torch.from_numpy(run.known.item[run.known.user == user]).long()] = -torch.inf
    return scores.topk(k).indices.tolist()


def test_evidence_is_what_it_says(planted_run: Run) -> None:
    finder, user = EvidenceFinder(planted_run), 4
    (item,) = best_items(planted_run, user, 1)
    pieces = finder.find(user, item)
    assert [piece.drop for piece in pieces] == sorted((piece.drop for piece in pieces), reverse=True)
    things = [piece for piece in pieces if piece.kind == "had"]
    had = set(planted_run.known.item[planted_run.known.user == user].tolist())
    assert things
    assert {piece.item for piece in things} <= had
    taken = sorted(had)[0]
    assert all(piece.item != taken for piece in finder.find(user, taken))  # nothing is a reason for itself
    log = planted_run.train
    for piece in things:
        users = [set(log.user[log.item == one].tolist()) for one in (piece.item, item)]
        assert piece.common == len(users[0] & users[1])
    assert {piece.modality for piece in pieces if piece.kind == "content"} <= {"text", "image", "audio"}
    assert len({piece.id for piece in pieces}) == len(pieces)


@pytest.mark.parametrize(("ratings", "told"), [([1.0, 4.0, 2.5], 4.0), ([1.0, 1.0, 1.0], None), (None, None)])
def test_ratings_are_told_where_people_gave_some(
    planted_run: Run, ratings: list[float] | None, told: float | None
) -> None:
    user, item = np.array([0, 1, 1], dtype=np.int32), np.array([3, 5, 6], dtype=np.int32)
    values = None if ratings is None else np.array(ratings, dtype=np.float32)
    log = Interactions(user=user, item=item, rating=values, num_users=80, num_items=60)
    finder = EvidenceFinder(planted_run)
    finder.run = cast(Run, SimpleNamespace(known=log))
    assert finder._rating(1, 5) == told


@pytest.mark.guarantee("G13")
def test_the_drop_is_the_score_less_the_score_without(planted_run: Run) -> None:
    finder, user = EvidenceFinder(planted_run), 4
    (item,) = best_items(planted_run, user, 1)
    piece = next(piece for piece in finder.find(user, item) if piece.kind == "had")
    log = planted_run.known
    from gnnrec.graph import with_interactions

    without = with_interactions(planted_run.graph, log.rows((log.user != user) | (log.item != piece.item)))
    scores = [
        float(model_scorer(planted_run.model, graph)(torch.tensor([user]))[0, item])
        for graph in (planted_run.known_graph, without)
    ]
    assert piece.drop == pytest.approx(scores[0] - scores[1], abs=1e-6)


@pytest.mark.guarantee("G13")
def test_evidence_lowers_the_score_more_than_as_much_drawn_at_random(planted_run: Run) -> None:
    explainer, lower, pairs = Explainer(planted_run), 0, 0
    for user in range(20):
        for item in best_items(planted_run, user, 1):
            pieces = explainer.evidence(user, item)
            found = explainer.held_against_chance(user, item, pieces, seed=user)
            if found["removed"]:
                assert len(found["random_drops"]) == DRAWS
                pairs += 1
                lower += found["drop"] > np.median(found["random_drops"])
    assert pairs >= 10
    assert lower >= 0.8 * pairs


def test_one_recommendation_as_a_document(planted_run: Run) -> None:
    user, item = planted_run.user_ids[4], planted_run.item_ids[best_items(planted_run, 4, 1)[0]]
    found = Explainer(planted_run).explain(user, item, counterfactual=True)
    assert found["user"] == user
    assert found["explanation"]
    ids = {piece["id"] for piece in found["evidence"]}
    assert {name for sentence in found["explanation"] for name in sentence["evidence"]} <= ids
    shares = found["modalities"]
    assert sum(part["attention"] for part in shares.values()) == pytest.approx(1, abs=1e-5)
    assert sum(part["drop_share"] for part in shares.values()) == pytest.approx(1, abs=1e-5) or not any(
        piece["drop"] > 0 for piece in found["evidence"] if piece["kind"] == "content"
    )
    assert set(found["counterfactual"]) == {"removed", "drop", "random_drops"}
    with pytest.raises(UserError, match="no user with the id 'nobody'"):
        Explainer(planted_run).explain("nobody", item)


def test_content_that_was_filled_in_is_no_reason(planted_run: Run) -> None:
    finder, user = EvidenceFinder(planted_run), 4
    (item,) = best_items(planted_run, user, 1)
    pieces = finder.find(user, item)
    near = next(piece for piece in pieces if piece.alike)
    modality = near.alike[0][0]
    assert modality in {piece.modality for piece in pieces}
    finder._own[modality].discard(item)  # as if its node held what its neighbours have
    pieces = finder.find(user, item)
    assert modality not in {piece.modality for piece in pieces} | {name for p in pieces for name, _ in p.alike}
