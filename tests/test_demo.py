import shutil

import numpy as np
import pytest

from gnnrec.datasets import Dataset
from gnnrec.demo import RECIPES, find_data, finished_run, run_demo
from gnnrec.errors import UserError
from gnnrec.pipeline import evaluate
from gnnrec.recipe import load_recipe

QUICK = ["train.epochs=2", "model.dim=8"]


def test_the_demo_ends_with_a_table_a_list_and_a_report(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))  # the features are here: no encoder may be asked for
    said = []
    run_demo(tiny_data, tmp_path / "runs", QUICK, said.append)
    report = tmp_path / "runs" / "default" / "report.html"
    assert said[-1] == f"\nreport: {report}"
    assert report.stat().st_size > 10_000
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(RECIPES)
    standing, mine = said[-3], said[-2]
    for name in RECIPES:
        assert f"{evaluate(tmp_path / 'runs' / name).metrics['ndcg@10']:.4f}" in standing
    assert "default minus" in standing
    assert "had last: Title" in mine
    assert mine.count("Title") >= 15  # five of her history, ten of her list
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*/weights.safetensors")}
    again = []
    run_demo(tiny_data, tmp_path / "runs", QUICK, again.append)
    assert again[-3:] == said[-3:]
    assert sum("finished before" in line for line in again) == len(RECIPES)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    with pytest.raises(UserError, match="default: holds a run with other settings"):
        run_demo(tiny_data, tmp_path / "runs", ["model.dim=16"], again.append)


@pytest.mark.parametrize("changed", ["posters/2.png", "text.npy", "items.csv"])
def test_a_run_on_other_content_is_not_taken_for_this_one(changed, tiny_data, tmp_path):
    dataset = Dataset.load(shutil.copytree(tiny_data, tmp_path / "data"))
    recipe = load_recipe("popularity")
    made = finished_run(dataset, tmp_path / "run", recipe, lambda line: None)
    assert (
        finished_run(Dataset.load(tmp_path / "data"), tmp_path / "run", recipe, lambda line: None).folder == made.folder
    )
    path = tmp_path / "data" / changed
    if changed == "text.npy":
        np.save(path, np.load(path) + 1)
    elif changed == "items.csv":
        path.write_text(path.read_text().replace("Title 3,", "Another title,"))
    else:
        shutil.copy(path.with_stem("3"), path)
    with pytest.raises(UserError, match="other settings or on other data"):
        finished_run(Dataset.load(tmp_path / "data"), tmp_path / "run", recipe, lambda line: None)


def test_the_movies_of_the_checkout_are_found(monkeypatch, tmp_path):
    assert (find_data() / "dataset.toml").exists()
    monkeypatch.setattr("gnnrec.demo.__file__", str(tmp_path / "site" / "gnnrec" / "demo.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="name it by --data"):
        find_data()
