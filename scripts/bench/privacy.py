"""What privacy costs: NDCG@20 on test over epsilon, and what the audits find.

python scripts/bench/privacy.py curve DATA [--number 3] | audit DATA | poison DATA|planted
--only dp_mf: this model alone

planted: 300 users and 120 items made by rule, so few and so dense that three false users weigh.
"""

import argparse
import tempfile
import time
from pathlib import Path

from accuracy import FOLDERS
from rows import row, save

from gnnrec.audit.membership import audit_membership
from gnnrec.audit.poison import audit_poisoning
from gnnrec.datasets import Dataset, planted, split
from gnnrec.encoders import encode_dataset
from gnnrec.evaluation import evaluate_ranking
from gnnrec.graph import with_interactions
from gnnrec.models.tower import mean_of_content
from gnnrec.pipeline import evaluate_model, fit_model, known_at_test, train, training_graph
from gnnrec.private_runs import PRIVATE
from gnnrec.ranking import embedding_scorer
from gnnrec.recipe import load_recipe

Models = list[tuple[str, tuple[str, ...]]]
PLANTED = "planted"
CURVE: Models = [
    ("popularity", ()),
    ("ease", ()),
    *(("dp_filter", (f"model.epsilon={epsilon}",)) for epsilon in ("1.0", "2.0", "4.0", "8.0", "inf")),
    *(
        (name, (f"model.epsilon={epsilon}",))
        for name in ("dp_tower", "dp_mf")
        for epsilon in ("1.0", "4.0", "8.0", "inf")
    ),
]
AUDITED: Models = [
    ("item_knn", ()),
    ("ease", ()),
    *(("dp_filter", (f"model.epsilon={epsilon}",)) for epsilon in ("1.0", "4.0", "inf")),
    *((name, (f"model.epsilon={epsilon}",)) for name in ("dp_tower", "dp_mf") for epsilon in ("1.0", "4.0")),
]
# modality_gnn for as many epochs as validation takes on `planted`, where it adds nothing to what they gave.
POISONED: Models = [
    ("item_knn", ()),
    ("ease", ()),
    ("dp_filter", ("model.epsilon=4.0",)),
    ("default", ("train.epochs=10",)),
]


def name_of(recipe: str, settings: tuple[str, ...]) -> str:
    return " ".join([recipe, *(setting.removeprefix("model.") for setting in settings)])


def chosen(models: Models, only: str | None) -> Models:
    return [model for model in models if only in (None, model[0])]


def curve(dataset: Dataset, seeds: int, only: str | None) -> None:
    for name, settings in chosen(CURVE, only):
        recipe = load_recipe(name, settings).resolved(dataset)
        parts = split(dataset, recipe.split_config(dataset))
        items, users = encode_dataset(dataset, recipe.encoders)
        graph, known = training_graph(dataset, parts, items, users, recipe), known_at_test(dataset, recipe, parts)
        histories, began, values = with_interactions(graph, known), time.monotonic(), []
        draws = range(seeds if name in PRIVATE else 1)
        for _ in draws:  # the noise has no seed
            model, _ = fit_model(graph, parts.val, recipe)
            found = evaluate_model(model, histories, parts.test, parts.train, known, resamples=0)
            values.append({"ndcg@20": found.metrics["ndcg@20"]})
        keep(dataset, "curve", name_of(name, settings), draws, values, began)
    if only:
        return
    content = mean_of_content(histories)  # of the last recipe: no log is learnt from
    scorer = embedding_scorer(content.user, content.item)
    found = evaluate_ranking(scorer, relevant=parts.test, train=parts.train, seen=known, resamples=0)
    keep(dataset, "curve", "content alone", range(1), [{"ndcg@20": found.metrics["ndcg@20"]}], time.monotonic())


def audit(dataset: Dataset, trials: int, only: str | None) -> None:
    for name, settings in chosen(AUDITED, only):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            run = train(dataset, Path(folder) / "run", load_recipe(name, settings))
            found = audit_membership(run, trials, dataset)
        numbers = {"auc": found.auc, "tpr": found.tpr, "fpr": found.fpr, "tpr_low": found.tpr_interval[0]}
        keep(dataset, "audit", name_of(name, settings), range(trials), [numbers | bound_of(found.bound)], began)


def bound_of(bound: float | None) -> dict[str, float]:
    return {} if bound is None else {"bound": bound}


def poison(dataset: Dataset, targets: int, only: str | None) -> None:
    for name, settings in chosen(POISONED, only):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            run = train(dataset, Path(folder) / "run", load_recipe(name, settings))
            for found in audit_poisoning(run, targets, dataset):
                variant = f"{name_of(name, settings)}, {found.attack}{', robust' if found.robust else ''}"
                numbers = {name: getattr(found, name) for name in ("before", "after", "ndcg")}
                keep(dataset, "poison", variant, range(targets), [numbers], began)


def keep(dataset: Dataset, kind: str, variant: str, seeds: range, values: list[dict[str, float]], began: float) -> None:
    made = row(dataset.name, f"{kind}: {variant}", list(seeds), values, time.monotonic() - began)
    print(made["dataset"], made["variant"], made["metrics"], flush=True)
    save("privacy", [made])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("data", choices=[*FOLDERS, PLANTED])
    parser.add_argument("--number", type=int, help="trainings (3), shadow trainings (16) or pushed items (5)")
    parser.add_argument(
        "--only", choices=sorted({name for name, _ in CURVE + POISONED}), help="one model (default: all)"
    )
    options = parser.parse_args()
    measure, usual = KINDS[options.kind]
    made = options.data == PLANTED
    dataset = (
        planted("text", num_users=300, num_items=120, cold_share=0.0) if made else Dataset.load(FOLDERS[options.data])
    )
    measure(dataset, options.number or usual, options.only)


KINDS = {"curve": (curve, 3), "audit": (audit, 16), "poison": (poison, 5)}

if __name__ == "__main__":
    main()
