"""A run becomes a report: what was measured, beside other runs, and what the lists look like to people.

Letters: n users with a positive in the split, k length of the lists, I items.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.comparison import COMPARED, check_same_data, differences, mask_of, measure
from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError, count
from gnnrec.evaluation import Evaluation
from gnnrec.inspect.facts import describe_log, modality_weights, provenance
from gnnrec.models import has_embeddings, model_scorer
from gnnrec.pipeline import held_out
from gnnrec.ranking import top_k
from gnnrec.report import html
from gnnrec.report.html import Card, ModelRow, ReportData, Sample
from gnnrec.run_folder import Run
from gnnrec.tracking import read_log

BEYOND = ("coverage@10", "gini@10", "novelty@10", "popularity@10", "popularity_lift@10", "diversity@10")
LIST = 10  # length of the lists shown
SAMPLES = (("a very active user", 0.98), ("a typical user", 0.5), ("a quiet user", 0.02))  # quantiles of activity


def write_report(run_folder: Path, out: Path | None = None, against: Sequence[Path] = ()) -> Path:
    """Write the report about a run, by default as report.html into its folder, and return its path.

    Measured on test, or on val where the folder of the data has gone or changed. Raises UserError where one of
    `against` was trained on other data.
    """
    runs = [Run.load(folder) for folder in (run_folder, *against)]
    for other in runs[1:]:
        check_same_data(runs[0], other)
    path = out or run_folder / "report.html"
    html.write_report(collect(runs, *read_held_out(runs[0])), path)
    return path


def read_held_out(run: Run) -> tuple[Dataset | None, Interactions]:
    """The dataset and its test rows; None and the val rows where the data is not there any more."""
    try:
        dataset = run.dataset()
        relevant = held_out(run, dataset).test
    except UserError:
        return None, run.val
    return (dataset, relevant) if len(relevant) else (None, run.val)


def collect(runs: Sequence[Run], dataset: Dataset | None, relevant: Interactions) -> ReportData:
    """Everything a report shows; the first run is ours, `relevant` are the rows of the split it is measured on."""
    run, split = runs[0], "val" if dataset is None else "test"
    names = names_of(runs)
    evaluations = measure(runs, split, dataset=dataset)
    ours = evaluations[0]
    lists = top_lists(run, ours.users, mask_of(run, split, None))
    told = run.provenance
    vectors = run.embeddings.item.numpy() if has_embeddings(run.model) else None
    return ReportData(
        title=f"{told['dataset']['name']}: {run.recipe.model_name}",
        subtitle=(
            f"{split} split by {told['split']['method']}, {count(ours.num_users, 'user')}; made {told['finished'][:10]}"
        ),
        headline={
            "NDCG@10": ours.metrics["ndcg@10"],
            "Recall@20": ours.metrics["recall@20"],
            "Catalogue covered": f"{ours.beyond['coverage@10']:.0%}",
            "Training": duration(told["training_seconds"]),
        },
        facts=facts_of(run, None if dataset is None else len(relevant)),
        models=model_rows(names, evaluations),
        beyond={name: beyond_accuracy(one) for name, one in zip(names, evaluations)},
        log=read_log(run.folder),
        validation_metric=run.recipe.train.metric,
        popularity=np.bincount(run.train.item, minlength=run.train.num_items),
        exposure=np.bincount(lists[lists >= 0], minlength=run.train.num_items),
        activity=np.bincount(run.train.user, minlength=run.train.num_users),
        cohorts={names[place]: evaluations[place].cohorts for place in ours_and_best_other(evaluations)},
        modality_shares=modality_weights(run),
        item_vectors=vectors,
        item_labels=labels_of(run),
        samples=samples(run, ours.users, lists, relevant, split),
        settings=run.recipe.to_toml(),
        provenance=flat(provenance(run)),
    )


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of the folders; whole paths where two are the same."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def model_rows(names: Sequence[str], evaluations: Sequence[Evaluation]) -> list[ModelRow]:
    found = differences(evaluations[0], evaluations[1:])
    p_values = [{metric: row["p_holm"] for metric, row in one.items()} for one in ({}, *found)]  # ours not with itself
    return [
        ModelRow(
            name=name,
            metrics={metric: one.metrics[metric] for metric in COMPARED},
            confidence={metric: one.confidence[metric] for metric in COMPARED},
            p_values=p_value,
            ours=place == 0,
        )
        for place, (name, one, p_value) in enumerate(zip(names, evaluations, p_values))
    ]


def beyond_accuracy(evaluation: Evaluation) -> dict[str, float]:
    return {name: evaluation.beyond[name] for name in BEYOND if name in evaluation.beyond}


def ours_and_best_other(evaluations: Sequence[Evaluation]) -> list[int]:
    """Positions of the runs whose cohorts are drawn: more than two at a time cannot be read."""
    others = sorted(range(1, len(evaluations)), key=lambda place: -evaluations[place].metrics["ndcg@10"])
    return [0, *others[:1]]


def top_lists(run: Run, users: NDArray[np.int64], mask: str) -> NDArray[np.int64]:
    """The lists that the evaluation measured, [n, k]; -1 where nothing is left to recommend."""
    graph, known = (run.known_graph, run.known) if mask == "train+val" else (run.graph, run.train)
    found = top_k(model_scorer(run.model, graph), users, LIST, known.matrix())
    lists: NDArray[np.int64] = found.items.numpy()
    return lists


def samples(
    run: Run, users: NDArray[np.int64], lists: NDArray[np.int64], relevant: Interactions, split: str
) -> list[Sample]:
    """Users chosen by their activity alone, so that nobody can pick the flattering ones."""
    log = run.train if split == "val" else run.known
    order = np.argsort(np.bincount(log.user, minlength=log.num_users)[users], kind="stable")
    shown = []
    chosen: dict[int, str] = {}
    for kind, quantile in SAMPLES:
        chosen.setdefault(int(order[round(quantile * (len(order) - 1))]), kind)  # few users may be all three
    wanted = relevant.matrix()
    titles = run.items.titles() if run.items else (None,) * len(run.item_ids)

    def card(item: int, hit: bool = False) -> Card:
        picture, note = extras(run, item)
        return Card(title=titles[item] or run.item_ids[item], image=picture, note=note, hit=hit)

    for place, kind in chosen.items():
        user = users[place]
        rows = np.flatnonzero(log.user == user)
        hits = set(wanted.indices[wanted.indptr[user] : wanted.indptr[user + 1]].tolist())
        shown.append(
            Sample(
                user=f"{run.user_ids[user]}, {kind} with {count(len(rows), 'interaction')}",
                history=[card(int(item)) for item in log.item[rows[::-1][:LIST]]],
                recommended=[card(int(item), hit=int(item) in hits) for item in lists[place] if item >= 0],
            )
        )
    return shown


def extras(run: Run, item: int) -> tuple[Path | None, str]:
    """The picture of an item and the text of its second column, where there are any."""
    if run.items is None:
        return None, ""
    pictures, columns = (run.items.media or {}).get("image"), run.items.text_columns
    note = (run.items.table[columns[1]].cast(str)[item] or "") if len(columns) > 1 else ""
    return None if pictures is None else pictures[item], note.replace("|", ", ")


def labels_of(run: Run) -> list[str | None]:
    """The first value of each item's second text column, such as its first genre; empty without such a column. [I]"""
    if run.items is None or len(run.items.text_columns) < 2:
        return []
    column = run.items.table[run.items.text_columns[1]].cast(str)
    return [re.split(r"[|;,/]", value, maxsplit=1)[0].strip() or None if value else None for value in column]


def facts_of(run: Run, num_test: int | None) -> dict[str, Any]:
    told = describe_log(run.known)
    content = {
        modality: f"{int((~run.graph[modality].imputed).sum()):,} of {len(run.item_ids):,} items"
        for modality in run.graph.node_types
        if modality not in ("user", "item")
    }
    return {
        "Users": told["users"],
        "Items": told["items"],
        "Train": len(run.train),
        "Validation": len(run.val),
        **({} if num_test is None else {"Test": num_test}),
        "Density": told["density"],
        **({"From": told["first"][:10], "To": told["last"][:10]} if "first" in told else {}),
        **{f"Content: {modality}": text for modality, text in content.items()},
        "Licence": run.provenance["dataset"]["licence"] or "not stated",
    }


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def flat(facts: dict[str, Any]) -> dict[str, Any]:
    """One level, in words."""
    words: dict[str, Any] = {}
    for name, value in facts.items():
        if isinstance(value, dict):
            words |= value
        else:
            words[name.replace("_", " ")] = value
    return {name: "none" if value is None else value for name, value in words.items()}
