"""Missing modalities: how much of what content brings is left when a share of the contents is taken away?

    python scripts/bench/missing.py movies --keep FOLDER

Content gain: NDCG@10 of the model with content less that of the same model without any, on validation and among a fold
of items whose rows were all taken out of the training. Contents are removed from all items, cold ones too, by
`modalities.missing`; `graph.missing` says what stands in their place. Every training is kept in FOLDER, so that the
command goes on where it was. No test row is looked at.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDERS
from rows import row, save

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import encode_dataset
from gnnrec.graph import MISSING
from gnnrec.modalities.ablation import MEASURES, Values, measured, prepare
from gnnrec.modalities.missing import PATTERNS, remove_contents
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.significance import compare

SHARES = (0.2, 0.5, 0.8)
SHORT = ["model.dim=64", "model.heads=0", "train.epochs=12"]
ALL, NONE = "all content", "no content"


class Bench:
    """The trainings of one dataset, each with one fold of cold items, which is that of its seed."""

    def __init__(self, name: str, overrides: list[str], keep: Path | None) -> None:
        self.dataset, self.overrides, self.keep = Dataset.load(FOLDERS[name]), [*SHORT, *overrides], keep
        recipe = self.recipe("propagate")
        self.parts = split(self.dataset, recipe.split_config(self.dataset))
        self.items, self.users = encode_dataset(self.dataset, recipe.encoders)

    def recipe(self, method: str) -> Recipe:
        return load_recipe(None, [*self.overrides, f"graph.missing={method}"])

    def values(self, seed: int, method: str, share: float, pattern: str = PATTERNS[0]) -> Values:
        """By user; a share of 1 is the model without content."""
        items = remove_contents(self.items, share, pattern, seed) if 0 < share < 1 else self.items
        trial = prepare(self.dataset, self.parts, items, self.users, seed)
        return measured(trial, self.recipe(method), () if share == 1 else tuple(sorted(items)), seed, self.keep)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--shares", type=float, nargs="+", default=list(SHARES))
    parser.add_argument("--methods", nargs="+", choices=MISSING, default=list(MISSING))
    parser.add_argument("--patterns", nargs="+", choices=PATTERNS, default=list(PATTERNS))
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the short training")
    parser.add_argument("--keep", type=Path, help="keep every training's figures in this folder, and take those there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench, rows = Bench(options.dataset, options.set, options.keep), []
    full, none = ([bench.values(seed, "propagate", share) for seed in options.seeds] for share in (0.0, 1.0))
    variants = [(ALL, full), (NONE, none)]
    for share, pattern, method in product(options.shares, options.patterns, options.methods):
        found = [bench.values(seed, method, share, pattern) for seed in options.seeds]
        variants.append((f"{share:.0%} {pattern}, {method}", found))
        print(options.dataset, variants[-1][0], *(f"{found[0][name][1].mean():.4f}" for name in MEASURES), flush=True)
    for variant, found in variants:
        values = [{f"{name} ndcg@10": float(one[name][1].mean()) for name in MEASURES} for one in found]
        rows.append(row(options.dataset, variant, options.seeds, values, 0.0, kept=kept(found, full, none)))
        print(variant, rows[-1]["metrics"], rows[-1]["kept"], flush=True)
    save("missing", rows)


def kept(found: list[Values], full: list[Values], none: list[Values]) -> dict[str, dict[str, float | None]]:
    """What is left of the content gain by measure, over all users and seeds, and p of it against no content at all.

    `share` of what all the content brings; None where it brings nothing.
    """
    shares: dict[str, dict[str, float | None]] = {}
    for name in MEASURES:
        own, most, least = (np.concatenate([one[name][1] for one in some]) for some in (found, full, none))
        users = np.arange(len(own))  # a user once for each seed, since each has cold items of its own
        against = compare(own, least, first_users=users, second_users=users)
        brought = float(most.mean() - least.mean())
        share = against.difference / brought if brought > 0 else None
        shares[name] = {"share": share, "gain": against.difference, "p": against.p_randomisation}
    return shares


if __name__ == "__main__":
    main()
