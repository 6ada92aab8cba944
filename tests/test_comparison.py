import json

import numpy as np
import pytest

from gnnrec.comparison import COMPARED, differences, evaluate_against
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import load_recipe


def test_the_difference_is_that_of_each_user(tiny_runs):
    first, second = (evaluate(tiny_runs[name]) for name in ("default", "popularity"))
    documents, found = evaluate_against([tiny_runs["default"], tiny_runs["popularity"]])
    assert [document["run"] for document in documents] == [str(tiny_runs[name]) for name in ("default", "popularity")]
    assert documents[0]["metrics"] == first.metrics
    assert set(found) == set(COMPARED)
    for metric, row in found.items():
        gap = first.per_user[metric] - second.per_user[metric]
        assert row["difference"] == pytest.approx(gap.mean())
        assert row["interval"][0] <= row["difference"] <= row["interval"][1]
        t = gap.mean() / (gap.std(ddof=1) / len(gap) ** 0.5)
        from scipy import stats

        assert row["p_t"] == pytest.approx(2 * stats.t.sf(abs(t), len(gap) - 1))
    json.dumps(found, allow_nan=False)


def test_p_values_are_corrected_over_all_runs_and_metrics(tiny_runs):
    ours, *others = (evaluate(tiny_runs[name]) for name in ("default", "popularity", "item_knn"))
    found = differences(ours, others)
    raw = np.array([row[metric]["p_randomisation"] for row in found for metric in COMPARED])
    corrected = np.array([row[metric]["p_holm"] for row in found for metric in COMPARED])
    order = np.argsort(raw, kind="stable")
    largest = np.maximum.accumulate(np.minimum(1, raw[order] * np.arange(len(raw), 0, -1)))
    assert np.allclose(corrected[order], largest)
    assert len(raw) == 8


def test_equal_runs_do_not_differ(tiny_runs):
    _, found = evaluate_against([tiny_runs["item_knn"], tiny_runs["item_knn"]])
    assert all(row["difference"] == 0 and row["p_holm"] == 1 for row in found.values())


def test_one_run_alone_has_nothing_to_compare(tiny_runs):
    documents, found = evaluate_against([tiny_runs["popularity"]], "val")
    assert (len(documents), found) == (1, None)
    assert (documents[0]["split"], documents[0]["mask"]) == ("val", "train")


def test_every_run_is_measured_with_the_same_mask(tiny_runs):
    masked, _ = evaluate_against([tiny_runs["default"], tiny_runs["popularity"]], mask="train")
    assert [document["mask"] for document in masked] == ["train", "train"]
    for document, name in zip(masked, ("default", "popularity")):
        assert document["metrics"] == evaluate(tiny_runs[name], mask="train").metrics


def test_runs_on_other_rows_are_refused(tiny_runs, tiny_data, planted_run, tmp_path):
    with pytest.raises(UserError, match=r"other data \(made\) than .* \(tiny\)"):
        evaluate_against([tiny_runs["default"], planted_run.folder])
    train(Dataset.load(tiny_data), tmp_path / "run", load_recipe("popularity", ["split.method=random"]))
    with pytest.raises(UserError, match="another split"):
        evaluate_against([tiny_runs["default"], tmp_path / "run"])


def test_a_sample_of_users_is_called_one(tiny_data, tmp_path, run_command, one_document):
    settings = ["train.epochs=1", "model.dim=8", "split.users=5"]
    out = tmp_path / "run"
    assert one_document("train", tiny_data, "--out", out, "--set", *settings)["users"] <= 5
    found = one_document("evaluate", out)
    assert found["sample"] == 5 and 0 < found["users"] <= 5
    assert "users drawn by split.users, known: train+val" in run_command("evaluate", out)[1]
