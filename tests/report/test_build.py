import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.evaluation import popularity_groups
from gnnrec.modalities.ablation import MEASURES
from gnnrec.models import model_scorer
from gnnrec.pipeline import evaluate, held_out, train
from gnnrec.recipe import load_recipe
from gnnrec.report import write_report
from gnnrec.report.build import collect, read_held_out
from gnnrec.report.model_card import plain
from gnnrec.report.origin import energy
from gnnrec.run_folder import Run
from gnnrec.tuning import tune_settings


@pytest.fixture
def data(tiny_runs):
    runs = [Run.load(tiny_runs[name]) for name in ("default", "popularity", "item_knn")]
    return collect(runs, *read_held_out(runs[0]))


def test_the_models_stand_with_their_own_numbers(data, tiny_runs):
    assert [(row.name, row.ours) for row in data.models] == [
        ("default", True),
        ("popularity", False),
        ("item_knn", False),
        ("ease", False),
    ]
    assert data.fitted_here == ["ease"]  # the two others are runs
    for row in data.models[:3]:
        evaluation = evaluate(tiny_runs[row.name])
        assert row.metrics["ndcg@10"] == evaluation.metrics["ndcg@10"]
        assert row.confidence["ndcg@10"] == evaluation.confidence["ndcg@10"]
        assert data.beyond[row.name]["coverage@10"] == evaluation.beyond["coverage@10"]
    assert not data.models[0].p_values
    assert set(data.models[1].p_values) == set(data.models[1].metrics)


def test_lists_and_hits_are_the_users_own(data, tiny_run):
    test = held_out(tiny_run).test
    activity = np.bincount(tiny_run.known.user)
    assert data.samples
    for sample in data.samples:
        name, number = re.match(r"(\w+), .* with (\d+) interactions", sample.user).groups()
        user = tiny_run.user_ids.index(name)
        assert int(number) == activity[user]
        known = {f"Title {tiny_run.item_ids[item][1:]}" for item in tiny_run.known.item[tiny_run.known.user == user]}
        assert {card.title for card in sample.history} == known
        scores = (tiny_run.embeddings.item @ tiny_run.embeddings.user[user]).numpy()
        scores[tiny_run.known.item[tiny_run.known.user == user]] = -np.inf
        best = np.argsort(-scores)[:10]
        assert [card.title for card in sample.recommended] == [f"Title {tiny_run.item_ids[item][1:]}" for item in best]
        assert [card.hit for card in sample.recommended] == np.isin(best, test.item[test.user == user]).tolist()
        assert all(card.note in ("Action, War", "Comedy, Drama") for card in sample.recommended)
        assert all((card.image is None) == (card.title == "Title 5") for card in sample.recommended)


def test_plots_have_the_data_of_the_run(data, tiny_run):
    assert data.popularity.sum() == data.activity.sum() == len(tiny_run.train)
    assert data.exposure.sum() == 40 * 10
    assert (len(data.map.points), data.map.num_items) == (32, 32)
    assert set(data.map.labels) == {"Action", "Comedy"}
    (one,) = [point for point in data.map.points if point.title == "Title 4"]
    assert data.map.labels[one.label] == "Action"
    assert one.image.name == "4.png"
    most = data.popularity[[tiny_run.item_ids.index(f"i{point.title.split()[1]}") for point in data.map.points]]
    assert np.all(np.diff(most) <= 0)
    assert np.all(np.diff([point.popularity for point in data.map.points]) >= 0)
    assert [row["epoch"] for row in data.log] == [1, 2, 3]
    assert sum(data.modality_shares.values()) == pytest.approx(1)
    assert next(iter(data.cohorts)) == "default"
    assert len(data.cohorts) == 2
    assert data.facts["Test"] == 40
    assert data.facts["Content: image"] == "31 of 32 items (97%)"
    assert data.facts["Rows set aside"] == 2


def test_the_file_is_whole(tiny_runs, tmp_path):
    path = write_report(tiny_runs["default"], tmp_path / "deep" / "report.html", [tiny_runs["popularity"]])
    html = path.read_text(encoding="utf-8")
    assert path == tmp_path / "deep" / "report.html"
    assert "http://" not in html
    assert html.count("data:image/jpeg") > 10
    assert "test split by leave_last, 40 users" in html
    assert "Beyond accuracy" in html


def test_a_baseline_computed_here_is_what_its_run_gives(tiny_runs, tmp_path):
    run = Run.load(tiny_runs["default"])
    (row,) = [row for row in collect([run], *read_held_out(run)).models if row.name == "item_knn"]
    evaluation = evaluate(tiny_runs["item_knn"])
    assert row.metrics["ndcg@10"] == pytest.approx(evaluation.metrics["ndcg@10"])
    assert row.confidence["recall@20"] == pytest.approx(evaluation.confidence["recall@20"])


def test_failures_are_the_popular_items_that_rank_worst(data, tiny_run):
    test, known = held_out(tiny_run).test, tiny_run.known
    scores = model_scorer(tiny_run.model, tiny_run.known_graph)(torch.arange(40)).numpy().copy()
    popular = popularity_groups(tiny_run.train.matrix())["head"]
    ranks = {}
    for user, item in zip(test.user, test.item):
        own = scores[user, item]
        scores[user, known.item[known.user == user]] = -np.inf
        if popular[item]:
            ranks[tiny_run.user_ids[user]] = 1 + int((scores[user] > own).sum())
    worst = sorted(ranks.values(), reverse=True)[:3]
    assert worst[0] > worst[-1] > 1
    found = [(failure.user.split()[0], failure.missed_at) for failure in data.failures]
    assert [f"rank {rank};" in words for rank, (_, words) in zip(worst, found)] == [True] * 3
    assert [ranks[name] for name, _ in found] == worst


def test_the_shares_of_the_tail_add_up(data, tiny_run):
    sums = {name: sum(group[name] for group in data.tail.groups.values()) for name in data.tail.series}
    assert sums == pytest.approx({"items": 1, "interactions": 1, "recommended": 1})
    head = next(values for name, values in data.tail.groups.items() if name.startswith("head"))
    popular = popularity_groups(tiny_run.train.matrix())["head"]
    assert head["recommended"] == pytest.approx(data.exposure[popular].sum() / 400)


def test_the_energy_is_the_stated_formula():
    words = energy(7200, {"threads": 3, "cuda": None})
    assert words.startswith("about 72 Wh = 7,200 s x 3 thread(s) x 12 W")
    assert "not a measurement" in words
    assert energy(1, {"threads": 1, "cuda": "some"}).endswith("without the GPU")


def test_the_model_card_says_what_was_measured(tiny_runs, tmp_path):
    write_report(tiny_runs["default"], tmp_path / "report.html")
    card = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    ours = evaluate(tiny_runs["default"])
    low, high = ours.confidence["ndcg@10"]
    assert f"{ours.metrics['ndcg@10']:.4f} [{low:.4f}, {high:.4f}]" in card
    assert "- Data: none." in card
    assert "| item\\_knn |" in card
    assert f"{1 - ours.beyond['coverage@10']:.0%} of the catalogue is in nobody's first ten" in card
    parts = ("Intended use", "Data", "Metrics", "Encoders", "Limits", "Licences")
    assert all(f"## {part}\n" in card for part in parts)
    assert plain("<b>a|b</b>\n# x") == r"\<b\>a\|b\</b\> \# x"


def test_studies_stand_in_the_report(tiny_runs, tiny_data, tmp_path):
    search, epochs = ["model.l2=1.0,100.0"], load_recipe("ease")
    made = tune_settings(Dataset.load(tiny_data), tmp_path / "study", epochs, search=search, trials=2)
    value = {"modality": "text", "added": "alone", "measure": MEASURES[0], "ndcg@10": 0.2, "interval": [0.1, 0.3]}
    document = {"modalities": [], "ablation": {"value": [value]}}
    (tmp_path / "study.json").write_text(json.dumps(document))
    path = write_report(tiny_runs["item_knn"], tmp_path / "r.html", (), tmp_path / "study", tmp_path / "study.json")
    html = path.read_text(encoding="utf-8")
    assert f"best {made.best.value:.4f}" in html
    assert f"Value on {MEASURES[0]}" in html
    with pytest.raises(UserError, match="holds no study"):
        write_report(tiny_runs["item_knn"], tmp_path / "r.html", (), tmp_path)
    (tmp_path / "study.json").write_text("[]")
    with pytest.raises(UserError, match="no study of modalities"):
        write_report(tiny_runs["item_knn"], tmp_path / "r.html", modalities=tmp_path / "study.json")


def test_a_run_whose_data_is_gone_is_measured_on_val(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    run = train(Dataset.load(tmp_path / "data"), tmp_path / "run", load_recipe("popularity"))
    shutil.rmtree(tmp_path / "data")
    data = collect([run], *read_held_out(run))
    assert data.subtitle.startswith("val split")
    assert data.models[0].metrics["ndcg@10"] == evaluate(run, split_name="val").metrics["ndcg@10"]
    assert "Test" not in data.facts
    assert data.map is None  # popularity has no embeddings
    path = write_report(tmp_path / "run")
    assert path == tmp_path / "run" / "report.html"
    assert 'class="map"' not in path.read_text(encoding="utf-8")


def test_runs_on_other_data_do_not_stand_beside_it(tiny_runs, planted_run, tmp_path):
    with pytest.raises(UserError, match="other data"):
        write_report(tiny_runs["default"], tmp_path / "report.html", [planted_run.folder])
    assert list(tmp_path.iterdir()) == []


def test_a_broken_poster_is_left_out(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    for item in range(32):
        (tmp_path / "data" / "posters" / f"{item}.png").write_bytes(b"no picture")
    Image.new("RGB", (20, 30)).save(tmp_path / "data" / "posters" / "2.png")
    train(Dataset.load(tmp_path / "data"), tmp_path / "run", load_recipe("popularity"))
    html = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert len(set(re.findall(r"data:image/jpeg[^\"]*", html))) == 1
