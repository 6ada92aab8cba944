"""A tower on data that it was not trained on: only what content says can be right there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gnnrec.cli import main
from gnnrec.datasets import Dataset, planted
from gnnrec.errors import UserError
from gnnrec.graph import GraphConfig
from gnnrec.graph_growth import add_items
from gnnrec.models import model_scorer
from gnnrec.pipeline import evaluate, train
from gnnrec.query import content_similarity
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.transfer import OWN, QUESTIONS, keep, measure_transfer, place, place_run

ITEMS = 600


def half(dataset: Dataset, first: bool) -> Dataset:
    """One half of the items and of the users of a made dataset, under ids of its own: made of the same clusters."""
    log = dataset.interactions
    item, user = (np.arange(size) % 2 == (0 if first else 1) for size in (log.num_items, log.num_users))
    rows = item[log.item] & user[log.user]
    place = np.cumsum(item) - 1, np.cumsum(user) - 1
    return replace(
        dataset,
        name="first" if first else "second",
        item_ids=tuple(f"{first}{index}" for index in range(item.sum())),
        user_ids=tuple(f"{first}{index}" for index in range(user.sum())),
        interactions=type(log)(
            user=place[1][log.user[rows]].astype(np.int32),
            item=place[0][log.item[rows]].astype(np.int32),
            num_users=int(user.sum()),
            num_items=int(item.sum()),
        ),
        published_split=dataset.published_split[rows],
        item_features={name: values[item] for name, values in dataset.item_features.items()},
    )


@pytest.fixture(scope="module")
def whole() -> Dataset:
    """Text decides; picture and sound are as wide and say nothing, so that only a trained tower knows whom to trust."""
    return planted("text", num_users=400, num_items=ITEMS, rows_per_user=8, cold_share=0.0, noise=1.0)


@pytest.fixture(scope="module")
def run(whole: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = load_recipe(
        "tower", ["train.epochs=12", "train.batch_size=256", "train.learning_rate=0.03", "model.dim=16"]
    )
    return train(half(whole, True), tmp_path_factory.mktemp("runs") / "first", recipe)


def test_what_was_learnt_of_one_catalogue_ranks_another(run: Run, whole: Dataset) -> None:
    document = measure_transfer(place_run(run, half(whole, False)))
    cold = document["cold items"]
    values = {name: found["ndcg@10"] for name, found in cold["metrics"].items()}
    assert values[OWN] > values["mean of content"] + 0.05 > values["random"] + 0.15
    for name in ("mean of content", "popularity", "random"):
        assert cold["against"][name]["difference"] == pytest.approx(values[OWN] - values[name])
        assert cold["against"][name]["p_holm"] < 0.01
    assert json.loads(json.dumps(document)) == document


def test_on_its_own_data_it_is_the_same_but_for_popularity(run: Run, whole: Dataset) -> None:
    placed = place_run(run, half(whole, True))
    with torch.no_grad():
        own, there = run.model(run.graph), placed.model(placed.graph)
    assert torch.equal(own.user, there.user) and torch.equal(own.item[:, :-1], there.item[:, :-1])
    assert own.item[:, -1].std() > 0 and not there.item[:, -1].any()  # and the run's own model keeps its popularity


def test_the_new_run_is_one_like_any_other(run: Run, whole: Dataset, tmp_path: Path) -> None:
    other = half(whole, False)
    placed = place_run(run, other)
    kept = keep(placed, run, tmp_path / "kept")
    document = measure_transfer(placed)["all items"]
    found = evaluate(kept, dataset=other)
    assert found.num_users == document["users"]
    assert found.metrics["ndcg@10"] == pytest.approx(document["metrics"][OWN]["ndcg@10"])
    user, shop = other.user_ids[3], Recommender(kept)
    had = [place.id for place in shop.history(user, 100)][::-1]
    listed = [(place.id, round(place.score, 4)) for place in shop.recommend(user)]
    assert [(place.id, round(place.score, 4)) for place in shop.recommend_history(had)] == listed
    assert kept.provenance["transferred_from"] == str(run.folder.resolve())
    with pytest.raises(UserError, match="holds a finished run already"):
        keep(placed, run, tmp_path / "kept")


def test_a_catalogue_that_lacks_a_modality_is_ranked_by_the_others(run: Run, whole: Dataset, tmp_path: Path) -> None:
    other = half(whole, False)
    text_only = replace(other, item_features={"text": other.item_features["text"], "smell": np.zeros((300, 2))})
    placed = place_run(run, text_only)
    values = measure_transfer(placed)["cold items"]["metrics"]
    assert values[OWN]["ndcg@10"] > values["random"]["ndcg@10"] + 0.1
    kept = keep(placed, run, tmp_path / "kept")
    users = torch.arange(5)
    again, before = (model_scorer(model, placed.graph)(users) for model in (kept.model, placed.model))
    assert torch.equal(again, before)
    assert kept.graph["image"].num_nodes == 0 and "smell" not in kept.graph.node_types
    asked = content_similarity(add_items(kept.graph, {"text": text_only.item_features["text"][7:8]}, GraphConfig()))
    assert int(asked.argmax()) == 7 and float(asked.max()) == pytest.approx(1)
    back = place_run(kept, half(whole, True))  # from there to where all modalities are
    with torch.no_grad():
        assert torch.equal(back.model(back.graph).user, run.model(run.graph).user)


def test_what_the_model_does_not_know_is_not_encoded(tiny_data: Path, tmp_path: Path) -> None:
    dataset = Dataset.load(tiny_data)
    own = train(dataset, tmp_path / "run", load_recipe("tower", ["encoders.image=none", "train.epochs=1"]))
    assert own.recipe.encoders.image == "none" and place_run(own, dataset).recipe.encoders.image == "none"
    other = replace(own.recipe, encoders=replace(own.recipe.encoders, image="no such encoder", audio="none such"))
    placed = place(own.model, other, own.graph, own.provenance["encoders"]["items"], dataset)
    assert set(placed.items) == {"text"} and placed.recipe.encoders.audio == "none"


def test_what_does_not_fit_is_refused_in_one_line(run: Run, whole: Dataset, planted_run: Run) -> None:
    other = half(whole, False)
    with pytest.raises(UserError, match="modality_gnn knows its own items and users only; allowed: tower"):
        place_run(planted_run, other)
    with pytest.raises(UserError, match="no content of the kinds that the model was trained on: audio, image, text"):
        place_run(run, replace(other, item_features={"smell": np.zeros((300, 2), np.float32)}))
    with pytest.raises(
        UserError, match="text was made by given in 3 dimensions; allowed: that of the run, given in 16"
    ):
        place_run(run, replace(other, item_features={"text": np.ones((300, 3), np.float32)}))


def test_the_command(run: Run, planted_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["transfer", str(run.folder), "--data", str(planted_folder), "--out", out, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] == out and {*QUESTIONS} <= set(document)
    assert main(["transfer", str(run.folder), "--data", str(planted_folder)]) == 0
    assert "mean of content" in capsys.readouterr().out
    shown = ["recommend", out, "--history", f"{Run.load(out).item_ids[0]},{Run.load(out).item_ids[4]}", "--json"]
    assert main(shown) == 0
    assert len(json.loads(capsys.readouterr().out)) == 10
    assert main(["recommend", out, "--history", "nothing"]) == 2
    assert "no item with the id 'nothing'" in capsys.readouterr().err
