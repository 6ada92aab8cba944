import re
import shutil

import numpy as np
import pytest
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.pipeline import evaluate, held_out, train
from gnnrec.recipe import load_recipe
from gnnrec.report import write_report
from gnnrec.report.build import collect, read_held_out
from gnnrec.run_folder import Run


@pytest.fixture
def data(tiny_runs):
    runs = [Run.load(tiny_runs[name]) for name in ("default", "popularity", "item_knn")]
    return collect(runs, *read_held_out(runs[0]))


def test_the_models_stand_with_their_own_numbers(data, tiny_runs):
    assert [(row.name, row.ours) for row in data.models] == [
        ("default", True),
        ("popularity", False),
        ("item_knn", False),
    ]
    for row in data.models:
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
    assert data.item_vectors.shape == tuple(tiny_run.embeddings.item.shape)
    assert set(data.item_labels) == {"Action", "Comedy"}
    assert data.item_labels[tiny_run.item_ids.index("i4")] == "Action"
    assert [row["epoch"] for row in data.log] == [1, 2, 3]
    assert sum(data.modality_shares.values()) == pytest.approx(1)
    assert next(iter(data.cohorts)) == "default"
    assert len(data.cohorts) == 2
    assert data.facts["Test"] == 40
    assert data.facts["Content: image"] == "31 of 32 items"


def test_the_file_is_whole(tiny_runs, tmp_path):
    path = write_report(tiny_runs["default"], tmp_path / "deep" / "report.html", [tiny_runs["popularity"]])
    html = path.read_text(encoding="utf-8")
    assert path == tmp_path / "deep" / "report.html"
    assert "http://" not in html
    assert html.count("data:image/jpeg") > 10
    assert "test split by leave_last, 40 users" in html
    assert "Beyond accuracy" in html


def test_a_run_whose_data_is_gone_is_measured_on_val(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    run = train(Dataset.load(tmp_path / "data"), tmp_path / "run", load_recipe("popularity"))
    shutil.rmtree(tmp_path / "data")
    data = collect([run], *read_held_out(run))
    assert data.subtitle.startswith("val split")
    assert data.models[0].metrics["ndcg@10"] == evaluate(run, split_name="val").metrics["ndcg@10"]
    assert "Test" not in data.facts
    assert data.item_vectors is None  # popularity has no embeddings
    path = write_report(tmp_path / "run")
    assert path == tmp_path / "run" / "report.html"
    assert "Embedding map" not in path.read_text(encoding="utf-8")


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
