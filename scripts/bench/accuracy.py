"""Accuracy of our model and the baselines on the splits that README and docs/measurements.md show.

    python scripts/bench/accuracy.py lfm2k --variants modality_gnn,ease --seeds 0 1 2 3 4

Every variant is a shipped recipe, with the settings of results/selected.json (chosen on validation by choose.py) and
those below laid over it, trained on train, stopped on val, and measured once on test over the full catalogue.
Closed-form models have no seed. The per-user values of the mean over seeds are compared with those of every other
variant by paired tests.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rows import RESULTS, SHARED, drop_tests, row, save, save_tests, tested
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Interactions, Split, join_logs, split
from gnnrec.encoders import encode_dataset
from gnnrec.evaluation import Evaluation
from gnnrec.files import atomic_path
from gnnrec.graph import with_interactions
from gnnrec.models import Model
from gnnrec.pipeline import evaluate_model, fit_model, training_graph
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.significance import compare
from gnnrec.validation import validation_metric

SHIPPED = Path(__file__).parents[2] / "data"
FOLDERS = {"movies": SHIPPED / "movies", "music": SHIPPED / "music"} | {
    name: SHARED / name for name in ("lfm2k", "ml100k", "baby", "gowalla", "beauty", "courses")
}
# Rows of one second stand in the order of the file, which for movies is that of the item ids: the order of a tie says
# something about the held-out item. This variant of the data deals each tie anew.
TIES_SHUFFLED = "movies, ties shuffled"
FOLDERS[TIES_SHUFFLED] = FOLDERS["movies"]
# Published splits mask and know train only, as their published figures do; the others know train and val. gowalla's has
# no validation: a tenth of each user's train rows is held out for it, and all of train is known at test time.
PUBLISHED = ("lfm2k", "ml100k", "baby")
SEEDLESS = ("popularity", "item_knn", "ease", "ease_recent", "transition", "slist", "slim", "graph_filter")
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "popularity": ("popularity", []),
    "item_knn": ("item_knn", []),
    "ease": ("ease", []),
    "ials": ("ials", []),
    "graph_filter": ("graph_filter", []),
    "lightgcn_bpr": ("lightgcn", []),
    "lightgcn_softmax": ("lightgcn_softmax", ["model.start=random"]),
    "simgcl": ("simgcl", []),
    "xsimgcl": ("xsimgcl", []),
    "vbpr": ("vbpr", []),
    "sign": ("sign", []),
    "ease_recent": ("ease", ["model.recent=20"]),
    "slim": ("slim", []),
    "transition": ("transition", []),
    "slist": ("slist", []),
    "sasrec": ("sasrec", []),
    "modality_gnn": ("default", []),
    "modality_gnn, no content": ("default", ["encoders.text=none", "encoders.image=none", "encoders.audio=none"]),
    "modality_gnn, no order": ("default", ["model.recent=0"]),
    "modality_gnn, text only": ("default", ["encoders.image=none", "encoders.audio=none"]),
    "modality_gnn, image only": ("default", ["encoders.text=none", "encoders.audio=none"]),
}
SELECTED = RESULTS / "selected.json"
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


class Measured(NamedTuple):
    users: NDArray[np.int64]  # [n]
    per_user: dict[str, NDArray[np.float64]]  # on test, or on validation where test is kept back; [n] each
    values: dict[str, float]
    seconds: float  # of building and training


def measured(evaluation: Evaluation, values: dict[str, float], seconds: float) -> Measured:
    return Measured(evaluation.users, {name: evaluation.per_user[name] for name in METRICS}, values, seconds)


class Bench:
    """One dataset, read and encoded once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dataset = Dataset.load(FOLDERS[name])
        if name == TIES_SHUFFLED:
            self.dataset = replace(self.dataset, interactions=shuffle_ties(self.dataset.interactions))

    def measure(self, variant: str, seed: int, overrides: list[str]) -> Measured:
        recipe = self._recipe(variant, seed, overrides)
        parts, graph, model, epochs, seconds = self._fit(recipe)
        val = evaluate_model(model, graph, parts.val, parts.train, parts.train, resamples=0)
        values = {f"val {name}": val.metrics[name] for name in METRICS} | {"epochs": float(epochs)}
        if not len(parts.test):  # baby's test rows are kept back by who published it
            return measured(val, values, seconds)
        known = parts.train if self.name in PUBLISHED else join_logs(parts.train, parts.val)
        grown = graph if self.name in PUBLISHED else with_interactions(graph, known)
        evaluation = evaluate_model(model, grown, parts.test, parts.train, known, resamples=0)
        return measured(evaluation, {name: evaluation.metrics[name] for name in METRICS} | values, seconds)

    def validate(self, variant: str, seed: int, overrides: list[str]) -> float:
        parts, graph, model, *_ = self._fit(self._recipe(variant, seed, overrides))
        return validation_metric(model, graph, parts.train, parts.val, "ndcg@20")

    def _recipe(self, variant: str, seed: int, overrides: list[str]) -> Recipe:
        name, settings = VARIANTS[variant]
        return load_recipe(name, [*settings, *overrides, f"train.seed={seed}"])

    def _fit(self, recipe: Recipe) -> tuple[Split, HeteroData, Model, int, float]:
        parts = split(self.dataset, recipe.split_config(self.dataset))
        items, users = encode_dataset(self.dataset, recipe.encoders)
        began = time.monotonic()
        graph = training_graph(self.dataset, parts, items, users, recipe)
        model, state = fit_model(graph, parts.val, recipe)
        model.eval()
        return parts, graph, model, state.epoch, time.monotonic() - began


class Store:
    """Figures of trainings in a folder, so that a long series goes on where it was. Of one version of the code each."""

    def __init__(self, folder: Path, bench: Bench) -> None:
        self.folder, self.bench = folder, bench
        folder.mkdir(parents=True, exist_ok=True)

    def measure(self, variant: str, seed: int, overrides: list[str]) -> Measured:
        name = " ".join([self.bench.name, variant, str(seed), *overrides]).replace("/", "_")
        path = self.folder / f"{name}.npz"
        if not path.exists():
            found = self.bench.measure(variant, seed, overrides)
            notes = json.dumps([found.values, found.seconds])
            with atomic_path(path) as made, made.open("wb") as file:
                np.savez(file, users=found.users, notes=notes, **found.per_user)  # type: ignore[arg-type]
        with np.load(path) as kept:
            values, seconds = json.loads(str(kept["notes"]))
            return Measured(kept["users"], {metric: kept[metric] for metric in METRICS}, values, seconds)


def shuffle_ties(log: Interactions) -> Interactions:
    """The same log with the rows of each second in random order."""
    assert log.timestamp is not None
    order = np.lexsort((np.random.default_rng(0).random(len(log)), log.timestamp))
    columns = {name: getattr(log, name)[order] for name in ("user", "item", "timestamp")}
    return Interactions(num_users=log.num_users, num_items=log.num_items, **columns)


def selected(dataset: str, variant: str) -> list[str]:
    """The settings that were chosen on validation, if there was a choice."""
    chosen = json.loads(SELECTED.read_text(encoding="utf-8")) if SELECTED.exists() else {}
    settings: list[str] = chosen.get(dataset.partition(",")[0], {}).get(variant, {}).get("settings", [])
    return settings


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--variants", default="popularity,item_knn,ease,ials,graph_filter,lightgcn_bpr,modality_gnn")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over every variant; not kept as results")
    parser.add_argument("--keep", type=Path, help="keep every training's figures in this folder, and take those there")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bench, rows, per_user = Bench(options.dataset), [], {}
    store = Store(options.keep, bench) if options.keep else bench
    for variant in options.variants.split(","):
        seeds = [0] if variant in SEEDLESS else options.seeds
        settings = [*selected(options.dataset, variant), *options.set]
        measured = [store.measure(variant, seed, settings) for seed in seeds]
        values = [found.values for found in measured]
        seconds = sum(found.seconds for found in measured) / len(measured)
        rows.append(row(options.dataset, variant, seeds, values, seconds, settings=settings))
        users = measured[0].users
        per_user[variant] = (users, {m: np.mean([found.per_user[m] for found in measured], axis=0) for m in METRICS})
        shown = {name: f"{rows[-1]['metrics'][name]:.4f} ±{rows[-1]['spread'][name]:.4f}" for name in values[0]}
        print(options.dataset, variant, json.dumps(shown), f"{rows[-1]['seconds']:.0f} s a seed", flush=True)
    if options.set:
        return
    save("accuracy", rows)
    main_variant = "modality_gnn"
    if main_variant not in per_user:
        drop_tests(options.dataset, per_user)
        return
    own_users, own = per_user[main_variant]
    tests = {
        other: {
            metric: tested(compare(own[metric], values[metric], first_users=own_users, second_users=users))
            for metric in METRICS
        }
        for other, (users, values) in per_user.items()
        if other != main_variant
    }
    save_tests(options.dataset, tests)


if __name__ == "__main__":
    main()
