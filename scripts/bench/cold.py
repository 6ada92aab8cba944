"""Cold items: can content alone rank items that nobody has taken yet?

    python scripts/bench/cold.py music --variants random,popularity,audio

The items are dealt into folds (by seed). For each fold all interactions of its items are taken out of train and val,
the model is trained on the rest, and for every user who took at least one of the fold's items these are ranked among
the fold's items only. A user's value is the mean over the folds she appears in; the values of all users are
compared by the paired randomisation test. "random" scores by chance, "popularity" by train counts, all zero here.
A modality may name its encoder: "audio=log_mel"; "audio=recurrent:both" and its like are fitted anew for each fold and
seed, to the rows of the warm items alone, by that objective.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDERS
from rows import row, save, save_tests, tested

from gnnrec.datasets import Dataset, Interactions, Split, split
from gnnrec.encoders import encode_dataset
from gnnrec.encoders.fitted.recurrent import RecurrentConfig
from gnnrec.evaluation import evaluate_ranking
from gnnrec.fitting import fit_encoder
from gnnrec.models import model_scorer
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.ranking import Scorer
from gnnrec.recipe import load_recipe
from gnnrec.significance import compare

CONTENT = ("text", "image", "audio")
METRIC = "ndcg@10"
RECURRENT = "recurrent:"
PLAIN = ("random", "popularity", "no content", "audio=log_mel")  # what the others are tested against


def scorer_of(
    variant: str, dataset: Dataset, train: Interactions, val: Interactions, seed: int, overrides: list[str]
) -> Scorer:
    if variant == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda users: torch.rand(len(users), train.num_items, generator=generator)
    if variant == "popularity":
        recipe = load_recipe("popularity")
    else:
        parts = [] if variant == "no content" else [part.partition("=") for part in variant.split("+")]
        kept = {name: encoder for name, _, encoder in parts}
        chosen = [f"encoders.{name}={kept[name]}" for name in kept if kept[name]]
        off = [f"encoders.{name}=none" for name in CONTENT if name not in kept]
        if kept.get("audio", "").startswith(RECURRENT):
            recipe, objective = load_recipe(None, off), kept["audio"].removeprefix(RECURRENT)
            folder = Path(tempfile.mkdtemp()) / "encoder"
            warm = Split(train, val, val.rows(slice(0, 0)))
            fit_encoder(
                dataset, folder, "recurrent", RecurrentConfig(objective=objective, seed=seed), recipe=recipe, parts=warm
            )
            chosen = [f"encoders.audio={folder}"]
        recipe = load_recipe(None, [*off, *chosen, *overrides, f"train.seed={seed}"])
    items, users = encode_dataset(dataset, recipe.encoders)
    graph = training_graph(dataset, Split(train, val, val.rows(slice(0, 0))), items, users, recipe)
    model, _ = fit_model(graph, val, recipe)
    model.eval()
    return model_scorer(model, graph)


def without(log: Interactions, cold: np.ndarray) -> Interactions:
    return log.rows(~cold[log.item])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--variants", default="random,popularity,audio")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--use-folds", type=int, help="only the first so many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the default recipe")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = Dataset.load(FOLDERS[options.dataset])
    log, parts = dataset.interactions, split(dataset)
    variants = options.variants.split(",")
    sums = {variant: np.zeros((len(options.seeds), log.num_users)) for variant in variants}
    counts = np.zeros(log.num_users)
    seconds = dict.fromkeys(variants, 0.0)
    fold_of = np.random.default_rng(0).permutation(log.num_items) % options.folds
    for fold in range(options.use_folds or options.folds):
        cold = fold_of == fold
        relevant = log.rows(cold[log.item])
        train, val = without(parts.train, cold), without(parts.val, cold)
        for variant in variants:
            for place, seed in enumerate(options.seeds):
                began = time.monotonic()
                scorer = scorer_of(variant, dataset, train, val, seed, options.set)
                found = evaluate_ranking(
                    scorer, relevant=relevant, train=train, seen=None, candidates=cold, resamples=0
                )
                seconds[variant] += time.monotonic() - began
                sums[variant][place, found.users] += found.per_user[METRIC]
                print(fold, variant, seed, f"{found.metrics[METRIC]:.4f} over {found.num_users} users", flush=True)
        counts[found.users] += 1
    some = counts > 0
    users = np.flatnonzero(some)
    values = {variant: sums[variant][:, some] / counts[some] for variant in variants}  # [seeds, users]
    rows = [
        row(
            f"{options.dataset}, cold items",
            variant,
            options.seeds,
            [{METRIC: float(mean)} for mean in values[variant].mean(1)],
            seconds[variant] / len(options.seeds),
        )
        for variant in variants
    ]
    save("cold", rows)
    tests = {}
    for variant in variants:
        for other in PLAIN:
            if other in variants and variant not in PLAIN:
                own, against = values[variant].mean(0), values[other].mean(0)
                found = compare(own, against, first_users=users, second_users=users)
                tests[f"{variant} against {other}"] = tested(found)
    print(json.dumps(tests, indent=1))
    save_tests(f"{options.dataset}, cold items", tests)


if __name__ == "__main__":
    main()
