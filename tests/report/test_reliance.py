"""By how much a model falls without a modality, where it is known which one decides."""

import numpy as np
import pytest
import torch

from gnnrec.models import model_scorer
from gnnrec.pipeline import held_out
from gnnrec.removal import without_content
from gnnrec.report import reliance as module
from gnnrec.report.build import read_held_out
from gnnrec.report.measured import Measured
from gnnrec.report.reliance import drawn, reliance, reliance_plots
from gnnrec.run_folder import Run


def of(run: Run) -> Measured:
    return Measured(run=run, split="test", relevant=read_held_out(run)[1])


def ndcg(run: Run, gone: tuple[str, ...]) -> np.ndarray:
    """Of each user with a test row, where all items lack these modalities, one item after the other."""
    measured, graph = of(run), of(run).graph
    for modality in gone:
        for item in range(run.train.num_items):
            graph = without_content(graph, modality, item)
    known, test, values = measured.known, held_out(run).test, []
    scores = model_scorer(run.model, graph)(torch.arange(run.train.num_users)).numpy().copy()
    for user in np.unique(test.user):
        scores[user, known.item[known.user == user]] = -np.inf
        wanted = set(test.item[test.user == user].tolist()) - set(known.item[known.user == user].tolist())
        if not wanted:
            continue
        best = np.argsort(-scores[user], kind="stable")[:10]
        discount = 1 / np.log2(np.arange(2, 12))
        gain = sum(worth for item, worth in zip(best.tolist(), discount) if item in wanted)
        values.append(gain / discount[: min(len(wanted), 10)].sum())
    return np.array(values)


def test_the_fall_is_that_of_a_graph_without_the_content(planted_run: Run) -> None:
    rows = {(row["modality"], row["added"]): row for row in reliance(of(planted_run))}
    assert set(rows) == {(name, how) for name in ("audio", "image", "text") for how in ("with all others", "alone")}
    whole, none = ndcg(planted_run, ()), ndcg(planted_run, ("audio", "image", "text"))
    for name, others in (("text", ("audio", "image")), ("image", ("audio", "text"))):
        without, alone = ndcg(planted_run, (name,)), ndcg(planted_run, others)
        assert rows[name, "with all others"]["difference"] == pytest.approx((whole - without).mean(), abs=1e-6)
        assert rows[name, "alone"]["difference"] == pytest.approx((alone - none).mean(), abs=1e-6)


def test_the_modality_that_decides_is_leant_on(planted_run: Run) -> None:
    rows = {row["modality"]: row for row in reliance(of(planted_run)) if row["added"] == "with all others"}
    text = rows.pop("text")
    assert text["p_holm"] < 0.05 and text["interval"][0] > max(row["difference"] for row in rows.values())
    assert all(row["p_holm"] >= row["p_randomisation"] for row in (text, *rows.values()))


def test_models_that_do_not_fuse_and_logs_that_take_long_have_none(
    tiny_runs, planted_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reliance(of(Run.load(tiny_runs["item_knn"]))) == [] == reliance_plots([])
    everybody = drawn(of(planted_run))
    monkeypatch.setattr(module, "MOST_USERS", 9)
    some = drawn(of(planted_run))
    assert len(set(some)) == 9 < len(everybody) and set(some) <= set(everybody)
    assert {row["num_users"] for row in reliance(of(planted_run))} == {9}
    monkeypatch.setattr(module, "MOST_ROWS", len(planted_run.train) - 1)
    assert reliance(of(planted_run)) == []
