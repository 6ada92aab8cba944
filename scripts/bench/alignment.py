"""Alignment: do the modalities of an item find each other, and does bringing them together help the ranking?

    python scripts/bench/alignment.py movies
    python scripts/bench/alignment.py movies --ranking --variants model.align=0 model.align_item=0.1

Without --ranking: cross-modal retrieval among held-out items, and content to the item factors of iALS. With it: the
model trained with and without the auxiliary losses (model.align, model.align_item), on validation and on a fold of cold
items, and the closed forms that place cold items by content alone. No test row is looked at.
"""

import argparse
import time
from pathlib import Path

import torch
from accuracy import FOLDERS
from rows import row, save, save_tests, tested

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import encode_dataset
from gnnrec.modalities.ablation import MEASURES, measured, prepare
from gnnrec.modalities.cold import METHODS, cold_by_content
from gnnrec.modalities.meeting import retrieval
from gnnrec.recipe import load_recipe
from gnnrec.significance import compare

VARIANTS = ("model.align=0", "model.align=0.1", "model.align_item=0.1", "model.align_item=0.3")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--ranking", action="store_true")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="one setting each; the first is the plain one")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the default recipe")
    parser.add_argument("--keep", type=Path, help="folder of finished trainings")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = Dataset.load(FOLDERS[options.dataset])
    recipe = load_recipe(None, options.set)
    items, users = encode_dataset(dataset, recipe.encoders)
    parts = split(dataset, recipe.split_config(dataset))
    if not options.ranking:
        began, rows = time.monotonic(), []
        for found in retrieval(items, parts.train, options.seeds):
            keys = ("r@1", "r@10", "mrr")
            entry = row(
                options.dataset,
                f"{found['query']} to {found['target']}, {found['method']}",
                options.seeds,
                [{key: found[key] for key in keys}],
                time.monotonic() - began,
                candidates=found["candidates"],
                chance={key: found[f"{key} chance"] for key in keys},
            )
            rows.append(entry | {"spread": {key: found[f"{key} spread"] for key in keys}})
        save("alignment", rows)
        return
    trial = prepare(dataset, parts, items, users)
    names, found, rows = tuple(sorted(items)), {}, []
    for variant in options.variants:
        began, own = time.monotonic(), load_recipe(None, [*options.set, variant])
        runs = [measured(trial, own, names, seed, options.keep) for seed in options.seeds]
        found[variant] = runs
        print(variant, [{name: f"{part[1].mean():.4f}" for name, part in run.items()} for run in runs], flush=True)
        rows.append(entry_of(options.dataset, variant, options.seeds, runs, began))
    for method in METHODS:
        began = time.monotonic()
        found[method] = [cold_by_content(trial, method, seed) for seed in options.seeds]
        rows.append(entry_of(options.dataset, method, options.seeds, found[method], began))
        print(method, rows[-1]["metrics"], flush=True)
    save("alignment_ranking", rows)
    tests, base = {}, options.variants[0]
    for variant, runs in found.items():
        for measure in MEASURES:
            if variant != base and measure in runs[0]:
                (users_of, _), (base_users, _) = runs[0][measure], found[base][0][measure]
                own, other = (sum(run[measure][1] for run in several) / len(several) for several in (runs, found[base]))
                one = compare(own, other, first_users=users_of, second_users=base_users)
                tests[f"{variant} against {base}, {measure}"] = tested(one)
                print(variant, measure, tested(one), flush=True)
    save_tests(f"{options.dataset}, alignment", tests)


def entry_of(dataset: str, variant: str, seeds: list[int], runs: list, began: float) -> dict:
    values = [{f"{name} ndcg@10": float(part[1].mean()) for name, part in run.items()} for run in runs]
    return row(dataset, variant, seeds, values, (time.monotonic() - began) / len(seeds))


if __name__ == "__main__":
    main()
