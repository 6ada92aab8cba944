"""Runs side by side: every one measured on the same rows with the same mask, and paired tests over the same users."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError
from gnnrec.evaluation import Evaluation
from gnnrec.pipeline import default_mask, evaluate
from gnnrec.progress import progress
from gnnrec.run_folder import Run
from gnnrec.significance import PerUser, compare, holm

COMPARED = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")

Differences = dict[str, dict[str, Any]]  # metric -> numbers of one paired comparison


def evaluate_against(
    folders: Sequence[Path], split: str = "test", mask: str | None = None, dataset: Dataset | None = None
) -> tuple[list[dict[str, Any]], Differences | None]:
    """The evaluation of each run as JSON, and the differences of the first to the second where there is one.

    Raises UserError as `pipeline.evaluate`, and where the runs were trained on different data.
    """
    runs = [Run.load(folder) for folder in folders]
    mask = mask_of(runs[0], split, mask)
    evaluations = measure(runs, split, mask, dataset)
    more = {"mask": mask, "users_due_to_be_forgotten": int(due_in(runs).sum())}
    documents = [
        evaluation.to_json(split) | {"run": str(run.folder)} | more | sample_of(run)
        for run, evaluation in zip(runs, evaluations)
    ]
    return documents, differences(evaluations[0], evaluations[1:])[0] if len(runs) > 1 else None


def sample_of(run: Run) -> dict[str, int]:
    """How many users were drawn to be measured on, where the recipe asks for a sample."""
    users: int = run.recipe.split.get("users", 0)
    return {"sample": users} if users else {}


def measure(
    runs: Sequence[Run], split: str = "test", mask: str | None = None, dataset: Dataset | None = None
) -> list[Evaluation]:
    """Each run on the same rows with the same mask, by default that of the first; the data is read once. Users whom
    any of them is due to forget are left out."""
    for other in runs[1:]:
        check_same_data(runs[0], other)
    if split == "test" and dataset is None:
        dataset = runs[0].dataset()
    mask, due = mask_of(runs[0], split, mask), due_in(runs)
    return [
        evaluate(run, split_name=split, mask=mask, dataset=dataset, left_out=due)
        for run in progress(runs, text="measuring", unit="run")
    ]


def due_in(runs: Sequence[Run]) -> NDArray[np.bool_]:
    """Users of runs of the same data whom any of them is due to forget. [U]"""
    return np.logical_or.reduce([run.due for run in runs])


def differences(first: Evaluation, others: Sequence[Evaluation]) -> list[Differences]:
    """`first` minus each of `others`, by COMPARED metrics, in numbers that JSON can hold.

    `p_holm` is the p-value of the randomisation test, corrected over all runs and metrics of this call.
    """
    rows: list[Differences] = [
        {name: difference(first, other, name) for name in COMPARED}
        for other in progress(others, text="paired tests", unit="run")
    ]
    found = {f"{place} {name}": row[name]["p_randomisation"] for place, row in enumerate(rows) for name in COMPARED}
    corrected = holm(found)
    for place, row in enumerate(rows):
        for name in COMPARED:
            row[name]["p_holm"] = corrected[f"{place} {name}"]
    return rows


def difference(first: Evaluation, second: Evaluation, metric: str) -> dict[str, Any]:
    """`significance.Comparison` of one metric as a dict."""
    return difference_of(first.per_user[metric], second.per_user[metric], first.users, second.users)


def difference_of(
    first: PerUser, second: PerUser, users: NDArray[np.int64], others: NDArray[np.int64]
) -> dict[str, Any]:
    """The same of values [n] and whose they are [n]."""
    found = asdict(compare(first, second, first_users=users, second_users=others))
    return found | {"interval": list(found["interval"])}


def mask_of(run: Run, split: str, mask: str | None) -> str:
    """What is masked in the end: on val always train."""
    return "train" if split == "val" else mask or default_mask(run)


def check_same_data(first: Run, second: Run) -> None:
    """Raises UserError unless both were trained on the same rows and leave the same ones to be tested on."""
    names = [run.provenance["dataset"] for run in (first, second)]
    if names[0]["fingerprint"] != names[1]["fingerprint"]:
        raise UserError(
            f"{second.folder}: was trained on other data ({names[1]['name']}) than {first.folder} "
            f"({names[0]['name']}); only runs on the same data can be compared"
        )
    if not (same_rows(first.train, second.train) and same_rows(first.val, second.val)):
        raise UserError(f"{second.folder}: was trained on another split than {first.folder}; use one [split] for both")


def same_rows(first: Interactions, second: Interactions) -> bool:
    return np.array_equal(first.user, second.user) and np.array_equal(first.item, second.item)
