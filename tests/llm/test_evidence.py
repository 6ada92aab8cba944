"""Evidence is causal: what is told of lowers the score when it is taken out, and more than chance does (G13)."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError
from gnnrec.graph import FRIEND, TOGETHER, with_interactions
from gnnrec.llm.evidence import Evidence, EvidenceFinder
from gnnrec.llm.explainer import DRAWS, Explainer
from gnnrec.llm.sentences import explain
from gnnrec.models import model_scorer
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
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
    assert finder._rating(finder._row(1, 5)) == told


@pytest.mark.guarantee("G13")
def test_the_drop_is_the_score_less_the_score_without(planted_run: Run) -> None:
    finder, user = EvidenceFinder(planted_run), 4
    (item,) = best_items(planted_run, user, 1)
    piece = next(piece for piece in finder.find(user, item) if piece.kind == "had")
    log = planted_run.known
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
    middles = {kind["path"][-2] for kind in found["paths"]}
    assert {"user", "text", "image", "audio"} <= middles <= {"user", "item", "text", "image", "audio"}
    assert set(found["counterfactual"]) == {"removed", "drop", "random_drops"}
    with pytest.raises(UserError, match="no user with the id 'nobody'"):
        Explainer(planted_run).explain("nobody", item)


@pytest.fixture(scope="module")
def befriended(planted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The planted data, and a ring of friends: each user knows the three after her."""
    folder = shutil.copytree(planted_folder, tmp_path_factory.mktemp("friends") / "data")
    users = sorted(Dataset.load(folder).user_ids)
    pairs = [f"{one},{users[(place + step) % len(users)]}" for place, one in enumerate(users) for step in (1, 2, 3)]
    (folder / "friends.csv").write_text("\n".join(["user,friend", *pairs]) + "\n")
    (folder / "users.csv").write_text("\n".join(["user", *users]) + "\n")
    with (folder / "dataset.toml").open("a") as file:
        file.write('\n[users]\npath = "users.csv"\nid = "user"\nfriends = "friends.csv"\n')
    recipe = load_recipe(overrides=["train.epochs=6", "train.batch_size=128", "model.dim=16", "model.friend=0.5"])
    return train(Dataset.load(folder), folder.with_name("run"), recipe)


@pytest.mark.guarantee("G13")
def test_friends_who_had_it_are_evidence_and_nobody_else_is(befriended: Run) -> None:
    finder, told = EvidenceFinder(befriended), 0
    known, graph = befriended.known, befriended.known_graph
    for user in range(12):
        place = sorted(befriended.user_ids).index(befriended.user_ids[user])
        ring = [sorted(befriended.user_ids)[(place + step) % 80] for step in (-3, -2, -1, 1, 2, 3)]
        (item,) = best_items(befriended, user, 1)
        took = {befriended.user_ids[one] for one in known.user[known.item == item]}
        friends = [piece for piece in finder.find(user, item) if piece.kind == "friend"]
        assert {piece.id for piece in friends} == {f"friend:{one}" for one in ring if one in took}
        for piece in friends:
            friend = befriended.user_index(piece.id.removeprefix("friend:"))
            pairs = graph[FRIEND].edge_index
            without = graph.clone()
            gone = (pairs == torch.tensor([[user], [friend]])).all(0) | (pairs == torch.tensor([[friend], [user]])).all(
                0
            )
            del without[FRIEND]  # with the operator that was made of it
            without[FRIEND].edge_index = pairs[:, ~gone]
            assert gone.any() and piece.drop == pytest.approx(
                finder.score(user, item) - finder.score(user, item, without), abs=1e-6
            )
            told += 1
    assert told >= 3
    alone = next(piece for piece in friends_of(finder, range(80)) if piece.drop > 0)
    (sentence,) = explain([alone], str)
    assert (sentence.text, sentence.evidence) == ("A friend of yours had it.", (alone.id,))


def friends_of(finder: EvidenceFinder, users: Iterable[int]) -> list[Evidence]:
    pieces = [piece for user in users for piece in finder.find(user, best_items(finder.run, user, 1)[0])]
    return [piece for piece in pieces if piece.kind == "friend"]


@pytest.mark.guarantee("G13")
def test_a_kind_of_path_is_told_by_the_score_without_all_of_them(befriended: Run) -> None:
    finder, log = EvidenceFinder(befriended), befriended.known
    graph, by_friends = befriended.known_graph, 0
    for user in range(6):
        (item,) = best_items(befriended, user, 1)
        whole, found = finder.score(user, item), finder.paths(user, item)
        drops = {kind.path: kind.drop for kind in found}
        assert [kind.drop for kind in found] == sorted(drops.values(), reverse=True)
        without = {("user", "item", "user", "item"): with_interactions(graph, log.rows(log.item != item))}
        relations = {("user", "item", name, "item"): (name, "similar", name) for name in ("text", "image", "audio")}
        for path, edge_type in (relations | {("user", "item", "item"): TOGETHER}).items():
            left, store = graph.clone(), graph[edge_type]  # nothing is missing: modality nodes have the items' numbers
            stays = [place for place, ends in enumerate(store.edge_index.T.tolist()) if item not in ends]
            if len(stays) == store.num_edges:
                continue
            del left[edge_type]  # with the operator that was made of it
            left[edge_type].edge_index = store.edge_index[:, stays]
            left[edge_type].edge_weight = store.edge_weight[stays]
            without[path] = left
        expected = {path: whole - finder.score(user, item, left) for path, left in without.items()}
        told = {path: drop for path, drop in drops.items() if path != ("user", "user", "item")}
        assert len(expected) >= 4
        assert told == pytest.approx(expected, abs=1e-6)
        assert all(abs(drop) > 1e-6 for drop in told.values())
        friends = [piece.drop for piece in finder.find(user, item) if piece.kind == "friend"]
        assert (("user", "user", "item") in drops) == bool(friends)
        if len(friends) == 1:
            assert drops["user", "user", "item"] == pytest.approx(friends[0], abs=1e-6)
            by_friends += 1
    assert by_friends


@pytest.mark.guarantee("G13")
def test_things_are_alike_as_their_contents_are(planted_run: Run) -> None:
    """In text, picture and sound: the cosine of the standardized features of two things that are neighbours."""
    finder, seen = EvidenceFinder(planted_run), set()
    for user in range(20):
        (item,) = best_items(planted_run, user, 1)
        for piece in finder.find(user, item):
            for modality, cosine in piece.alike:
                x = planted_run.graph[modality].x.double().numpy()
                x = (x - x.mean(0)) / x.std(0)
                assert piece.item is not None
                ends = x[piece.item], x[item]
                expected = ends[0] @ ends[1] / np.linalg.norm(ends[0]) / np.linalg.norm(ends[1])
                assert cosine == pytest.approx(expected, abs=1e-4)
                seen.add(modality)
    assert seen == {"text", "image", "audio"}


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


def test_what_has_no_title_is_called_an_item_with_its_id(planted_folder: Path, tmp_path: Path) -> None:
    shutil.copy(planted_folder / "interactions.csv", tmp_path)
    described = (
        'name = "bare"\n[interactions]\npath = "interactions.csv"\nuser = "user"\nitem = "item"\nsplit = "split"'
    )
    (tmp_path / "dataset.toml").write_text(described)
    run = train(Dataset.load(tmp_path), tmp_path / "run", load_recipe("item_knn"))
    (item,) = best_items(run, 4, 1)
    found = Explainer(run).explain(run.user_ids[4], run.item_ids[item])
    assert found["title"] == f"item {run.item_ids[item]}"
    had = [piece for piece in found["evidence"] if piece["kind"] == "had"]
    assert had and all(piece["title"] == f"item {piece['id'].removeprefix('had:')}" for piece in had)
    assert f"“{had[0]['title']}”" in found["explanation"][0]["text"]
