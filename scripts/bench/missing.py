"""Missing modalities: how much of what content brings is left when a share of the contents is taken away?

    python scripts/bench/missing.py movies --keep FOLDER

Content gain: NDCG@10 of the model with content less that of the same model without any, on validation and among a fold
of items whose rows were all taken out of the training. Contents are removed from all items, cold ones too, by
`modalities.missing`; `graph.missing` says what stands in their place. Every training is kept in FOLDER, so that the
command goes on where it was. No test row is looked at.
"""

import argparse
from functools import partial
from pathlib import Path

import torch
from accuracy import FOLDERS
from rows import row, save

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import encode_dataset
from gnnrec.graph import MISSING
from gnnrec.modalities.ablation import prepare
from gnnrec.modalities.missing import PATTERNS, gain_left
from gnnrec.recipe import load_recipe

SHARES = (0.2, 0.5, 0.8)
SHORT = ["model.dim=64", "model.heads=0", "train.epochs=12"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="one after the other")
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--methods", nargs="+", choices=MISSING, default=list(MISSING))
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the short training")
    parser.add_argument("--keep", type=Path, help="keep every training's figures in this folder, and take those there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = Dataset.load(FOLDERS[options.dataset])
    recipe = load_recipe(None, [*SHORT, *options.set, f"train.seed={options.seeds[0]}"])
    parts = split(dataset, recipe.split_config(dataset))
    items, users = encode_dataset(dataset, recipe.encoders)
    trials = [prepare(dataset, parts, items, users, seed) for seed in options.seeds]
    ways = {"patterns": options.patterns, "methods": options.methods}
    say = partial(print, flush=True)
    found = gain_left(trials, recipe, options.shares, options.keep, **ways, say=say)
    rows = []
    for one in found:
        values = [{f"{name} ndcg@10": value for name, value in seed.items()} for seed in one["values"]]
        rows.append(row(options.dataset, one["removed"], options.seeds, values, 0.0, kept=one["kept"]))
        print(one["removed"], rows[-1]["metrics"], one["kept"], flush=True)
    save("missing", rows)


if __name__ == "__main__":
    main()
