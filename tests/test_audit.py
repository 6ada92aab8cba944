"""The audit of the evaluation: no test row in training, no say of names and order, trec_eval's figures, no samples."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import polars as pl
import pytest
import torch
from ir_measures import AP, RR, P, R, Success, nDCG
from numpy.typing import NDArray
from scipy.sparse import csr_array

import gnnrec
from gnnrec import metrics
from gnnrec.cli import main
from gnnrec.datasets import Dataset, Interactions, split
from gnnrec.errors import UserError
from gnnrec.evaluation import Evaluation, evaluate_ranking
from gnnrec.pipeline import evaluate, train
from gnnrec.ranking import embedding_scorer, top_k
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

SHORT = ["train.epochs=2", "train.batch_size=256", "model.dim=8"]
USERS, ITEMS = 60, 40


# No test row in training.


def write_log(folder: Path, rows: list[tuple[str, str, int]], items: list[str]) -> Path:
    """A folder whose split leaves the last row of each user for test and the one before for val."""
    folder.mkdir()
    pl.DataFrame(rows, schema=["user", "item", "time"], orient="row").write_csv(folder / "log.csv")
    pl.DataFrame({"item": items, "title": [f"Title {item}" for item in items]}).write_csv(folder / "items.csv")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "log.csv"\nuser = "user"\nitem = "item"\ntimestamp = "time"\n'
        '[split]\nmethod = "leave_last"\n[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]\n'
    )
    return folder


def made_log(seed: int = 0) -> list[tuple[str, str, int]]:
    """Users of two tastes; every row at a time of its own, so that the order of rows in a file says nothing."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        weight = np.where(np.arange(ITEMS) % 2 == user % 2, 5.0, 1.0) / np.arange(2, ITEMS + 2) ** 0.5
        for item in random.choice(ITEMS, size=12, replace=False, p=weight / weight.sum()):
            rows.append((f"u{user}", f"i{item}", 10_000 + len(rows)))
    return rows


NAMES = [f"i{item}" for item in range(ITEMS)]
NO_CONTENT = ["encoders.text=none"]


def digests(run: Path) -> dict[str, str]:
    names = ("weights", "embeddings", "graph")
    files = {
        name: (run / f"{name}.safetensors").read_bytes() for name in names if (run / f"{name}.safetensors").exists()
    }
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


@pytest.mark.parametrize("recipe", ["default", "lightgcn", "ease"])
def test_other_test_rows_give_the_same_run_to_the_bit(recipe: str, tmp_path: Path) -> None:
    rows, random = made_log(), np.random.default_rng(1)
    altered = [
        (user, f"i{random.integers(ITEMS)}" if number % 12 == 11 else item, time)
        for number, (user, item, time) in enumerate(rows)
    ]
    assert sum(old != new for old, new in zip(rows, altered)) > USERS / 2
    settings = NO_CONTENT if recipe == "ease" else [*NO_CONTENT, *SHORT]
    runs = {}
    for name, log in (("as it is", rows), ("altered", altered)):
        dataset = Dataset.load(write_log(tmp_path / f"data {name}", log, NAMES))
        runs[name] = train(dataset, tmp_path / name, load_recipe(recipe, settings))
    first, second = runs.values()
    assert evaluate(first).metrics != evaluate(second).metrics, "the test rows did change"
    assert digests(first.folder) == digests(second.folder) and len(digests(first.folder)) >= 2
    assert (first.folder / "metrics.json").read_text() == (second.folder / "metrics.json").read_text()


TRAIN_AND_WATCH = """
import json, sys
from pathlib import Path
from gnnrec import Dataset, load_recipe, train
data, out = Path(sys.argv[1]), Path(sys.argv[2])
dataset = Dataset.load(data)
log = data / "log.csv"
text = log.read_bytes()
log.unlink()  # a reader past Python's own open would fail
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event in ("open", "sqlite3.connect") else None)
train(dataset, out, load_recipe("default", sys.argv[3:]))
inside = sorted({name for name in opened if str(data) in name})
log.write_bytes(text)
open(log).close()
print(json.dumps({"inside": inside, "watched": str(log) in opened, "others": len(opened)}))
"""


def test_training_opens_no_file_of_the_log(tmp_path: Path) -> None:
    data = write_log(tmp_path / "data", made_log(), NAMES)
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRAIN_AND_WATCH, data, tmp_path / "run", *NO_CONTENT, *SHORT],
        env=os.environ | {"PYTHONPATH": str(Path(gnnrec.__file__).parents[1])},
        check=True,
        capture_output=True,
        text=True,
    )
    watched = json.loads(found.stdout.splitlines()[-1])
    assert watched["watched"] and watched["others"] > 0, "the watch sees what is opened"
    assert watched["inside"] == []
    assert (tmp_path / "run" / "run.json").exists()


def test_no_file_of_a_run_holds_a_test_row(tmp_path: Path) -> None:
    dataset = Dataset.load(write_log(tmp_path / "data", made_log(), NAMES))
    run = train(dataset, tmp_path / "run", load_recipe("default", [*NO_CONTENT, *SHORT]))
    test = split(dataset, run.recipe.split_config(dataset)).test
    held_back = set(zip(test.user.tolist(), test.item.tolist()))
    assert len(held_back) == USERS
    assert len(run.known) == 11 * USERS
    logs = [(run.known.user, run.known.item)]
    logs += [graph["user", "interacts", "item"].edge_index.numpy() for graph in (run.graph, run.known_graph)]
    for user, item in logs:
        assert len(user) >= 10 * USERS and not held_back & set(zip(user.tolist(), item.tolist()))


# Names and the order of rows have no say.


def renamed(rows: list[tuple[str, str, int]], seed: int) -> tuple[list[tuple[str, str, int]], dict[str, str]]:
    """The same log under other ids, its rows in another order."""
    random = np.random.default_rng(seed)
    names = {name: f"{number:05}" for number, name in enumerate(random.permutation(NAMES).tolist())}
    names |= {f"u{user}": f"user {number}" for number, user in enumerate(random.permutation(USERS).tolist())}
    other = [(names[user], names[item], time) for user, item, time in rows]
    return [other[place] for place in random.permutation(len(other))], names


def by_user(evaluation: Evaluation, dataset: Dataset, names: dict[str, str]) -> dict[str, dict[str, float]]:
    """Metric -> first id of a user -> value."""
    back = {new: old for old, new in names.items()}
    ids = [back[dataset.user_ids[user]] for user in evaluation.users]
    return {metric: dict(zip(ids, values.tolist())) for metric, values in evaluation.per_user.items()}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Dataset, dict[str, str]], ...]:
    folder, rows = tmp_path_factory.mktemp("twins"), made_log()
    other, names = renamed(rows, seed=3)
    same = {name: name for name in names}
    return (
        (Dataset.load(write_log(folder / "first", rows, NAMES)), same),
        (Dataset.load(write_log(folder / "second", other, [names[name] for name in reversed(NAMES)])), names),
    )


@pytest.mark.parametrize("recipe", ["ease", "graph_filter", "item_knn"])
def test_closed_form_models_are_worth_the_same_under_other_names(
    recipe: str, twins: tuple[tuple[Dataset, dict[str, str]], ...], tmp_path: Path
) -> None:
    found = []
    for place, (dataset, names) in enumerate(twins):
        run = train(dataset, tmp_path / str(place), load_recipe(recipe, NO_CONTENT))
        found.append(by_user(evaluate(run), dataset, names))
    assert found[0].keys() == found[1].keys() and len(found[0]["ndcg@10"]) == USERS
    for metric, values in found[0].items():
        assert values == pytest.approx(found[1][metric], abs=1e-12), metric


def test_given_embeddings_are_worth_exactly_the_same_under_other_names(
    twins: tuple[tuple[Dataset, dict[str, str]], ...], tmp_path: Path
) -> None:
    (first, _), *_ = twins
    run = train(first, tmp_path / "run", load_recipe("default", [*NO_CONTENT, *SHORT]))
    users = dict(zip(first.user_ids, run.embeddings.user))
    items = dict(zip(first.item_ids, run.embeddings.item))
    found, beyond = [], []
    for dataset, names in twins:
        back = {new: old for old, new in names.items()}
        user = torch.stack([users[back[name]] for name in dataset.user_ids])
        item = torch.stack([items[back[name]] for name in dataset.item_ids])
        parts = split(dataset)
        evaluation = evaluate_ranking(
            embedding_scorer(user, item), relevant=parts.test, train=parts.train, seen=parts.train, item_vectors=item
        )
        found.append(by_user(evaluation, dataset, names))
        beyond.append(evaluation.beyond | evaluation.metrics)
    assert found[0] == found[1]
    assert beyond[0] == pytest.approx(beyond[1], abs=1e-6)  # sums of floats in another order


def test_the_order_of_a_file_scores_as_chance_does(tmp_path: Path) -> None:
    # The worst of files: sorted so that the items come in the order of their popularity in test.
    random = np.random.default_rng(0)
    num_users, num_items = 400, 300
    items = [f"{number:04}" for number in range(num_items)]
    rows = [
        (f"{user:04}", items[item], 1000 * user + step)
        for user in range(num_users)
        for step, item in enumerate([*(100 + random.permutation(200)[:6]), random.integers(10)])
    ]
    rows.sort(key=lambda row: row[1])
    dataset = Dataset.load(write_log(tmp_path / "data", rows, items))
    parts = split(dataset)

    def recall(rank_of_item: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of a scorer that puts the items in one order for everybody, as a model without an idea does."""
        scores = -torch.from_numpy(rank_of_item).float()
        evaluation = evaluate_ranking(
            lambda users: scores.repeat(len(users), 1), relevant=parts.test, train=parts.train, seen=None, resamples=0
        )
        return evaluation.per_user["recall@10"]

    place_in_file = np.array([items.index(name) for name in dataset.item_ids])
    assert recall(place_in_file).mean() == 1.0, "in this file the order does tell"
    chance = 10 / num_items
    # Ten items hold all the positives, so the spread is that of drawing those ten, not that of 400 users.
    spread = np.sqrt(chance * (1 - chance) / 10)
    assert abs(recall(np.zeros(num_items, dtype=np.int64)).mean() - chance) < 3 * spread  # all tied: index order
    assert abs(recall(np.arange(num_items)).mean() - chance) < 3 * spread
    assert abs(recall(np.arange(num_items)[::-1].copy()).mean() - chance) < 3 * spread
    # Nor does an index say anything about the place in the file, or a user's about her item's.
    places = [place_in_file, np.array([int(name) for name in dataset.user_ids])]
    for order in places:
        assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 3 / np.sqrt(len(order))


# The figures of the field's own tool.


def test_metrics_are_those_of_trec_eval() -> None:
    random = np.random.default_rng(0)
    num_users, num_items, ks = 250, 120, (1, 3, 5, 10, 20, 50)
    scores = np.stack([random.permutation(num_items) for _ in range(num_users)]).astype(np.float32)  # no ties
    relevant = np.zeros((num_users, num_items), dtype=np.float32)
    for row in relevant:
        row[random.permutation(num_items)[: random.integers(1, 30)]] = 1
    table, wanted = torch.from_numpy(scores), csr_array(relevant)
    items = top_k(lambda users: table[users], torch.arange(num_users), max(ks)).items.numpy()
    num_relevant = np.diff(wanted.indptr)
    ours = metrics.accuracy(metrics.hits_of(items, np.arange(num_users), wanted), num_relevant, ks)

    qrels = {f"u{user:03}": {str(item): 1 for item in np.flatnonzero(relevant[user])} for user in range(num_users)}
    ranking = {
        f"u{user:03}": {str(item): float(score) for item, score in enumerate(scores[user])} for user in range(num_users)
    }
    theirs = {"recall": R, "ndcg": nDCG, "map": AP, "mrr": RR, "hit": Success, "precision": P}
    assert theirs.keys() == metrics.METRICS.keys()
    measures = {f"{name}@{k}": measure @ k for name, measure in theirs.items() for k in ks}
    found = {
        (str(row.measure), row.query_id): row.value for row in ir_measures.iter_calc(measures.values(), qrels, ranking)
    }
    for name, measure in measures.items():
        expected = np.array([found[str(measure), f"u{user:03}"] for user in range(num_users)])
        if name.startswith("map@"):  # trec_eval divides by |relevant|, gnnrec by what k places can hold
            expected *= num_relevant / np.minimum(num_relevant, int(name.partition("@")[2]))
        assert np.abs(ours[name] - expected).max() < 1e-9, name
        assert expected.std() > 0


# No sampled metrics.

WHY = (
    r"evaluate candidates: found {}; allowed: all, or in Python one mask \[items\] of booleans for everybody; "
    r"sampled metrics can rank models in the wrong order \(Krichene & Rendle 2020\)"
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (99, "99"),
        ("uni99", "'uni99'"),
        ([[1, 2], [3]], r"\[\[1, 2\], \[3\]\]"),
        (np.zeros((80, 100), dtype=np.int64), r"an array of shape \(80, 100\)"),  # the candidates of each user
        (np.arange(60), r"an array of shape \(60,\)"),  # item indexes
        (np.ones((80, 60), dtype=bool), r"an array of shape \(80, 60\)"),
    ],
)
def test_sampled_candidates_are_refused_with_the_reason(asked: object, found: str, planted_run: Run) -> None:
    with pytest.raises(UserError) as caught:
        evaluate(planted_run, candidates=asked)  # type: ignore[arg-type]
    assert re.fullmatch(WHY.format(found), str(caught.value))


def test_the_command_refuses_samples_too(planted_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(planted_run.folder), "--candidates", "uni99"]) == 2
    assert re.fullmatch("gnnrec: " + WHY.format("'uni99'"), capsys.readouterr().err.strip())


def test_a_result_says_how_many_items_were_ranked(planted_run: Run) -> None:
    everything, part = evaluate(planted_run), np.arange(60) < 45
    assert everything.to_json("test")["candidates"] == everything.candidates == 60
    assert evaluate(planted_run, candidates=part).candidates == 45


def test_sampled_metrics_would_have_misled() -> None:
    """Why they are refused: against 20 sampled items the model that is worse on the full catalogue wins."""
    random = np.random.default_rng(0)
    num_users, num_items = 2000, 1000
    # One model has the positive at rank 1 or nowhere, the other always in the first 50 but never in the first 10.
    bold = np.where(random.random(num_users) < 0.3, 1, num_items)
    safe = random.integers(11, 50, size=num_users)
    truth = Interactions(
        user=np.arange(num_users, dtype=np.int32),
        item=np.zeros(num_users, dtype=np.int32),
        num_users=num_users,
        num_items=num_items,
    )

    def worth(rank: NDArray[np.int64], items: int) -> NDArray[np.float64]:
        score = torch.arange(num_items, 0, -1).float().repeat(num_users, 1)
        score[:, 0] = num_items - torch.from_numpy(rank).float() + 0.5
        within = replace(truth, num_items=items)
        keep = np.concatenate([[0], 1 + random.permutation(num_items - 1)[: items - 1]])
        return evaluate_ranking(
            lambda users: score[users][:, keep].clone(), relevant=within, train=within, seen=None, resamples=0
        ).per_user["ndcg@10"]

    assert worth(bold, num_items).mean() > 0.29 > 0.01 > worth(safe, num_items).mean()
    assert worth(bold, 21).mean() < 0.5 < 0.6 < worth(safe, 21).mean()
