"""Transfer: a tower trained on one dataset ranks the catalogue of another, for its users, and nothing is trained there.

    python scripts/bench/transfer.py movies ml100k --columns title,genres

Two questions, as `gnnrec transfer` asks them: cold items in five folds, and all items on the test rows. Text is encoded
from the same columns on both sides; pictures are left out, since not all data have them. Items of the source whose
title (without year and signs) the target has too are left out of the source altogether, content and rows; --keep-shared
keeps them. Beside what `gnnrec transfer` shows stand two popularities of the source: the rows there of an item with the
same title (0 where there is none), and that foretold from content by ridge regression of the logarithm of the rows.
"""

import argparse
import dataclasses
import re
import time
from collections.abc import Mapping

import numpy as np
import torch
from accuracy import FOLDERS
from numpy.typing import NDArray
from rows import row, save, save_tests, tested

from gnnrec.alignment import fit_ridge
from gnnrec.cold_items import without_items
from gnnrec.datasets import Dataset, Interactions, split
from gnnrec.encoders import Features, encode_dataset
from gnnrec.modalities.cold import side_by_side
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.ranking import Scorer
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.significance import Comparison, compare
from gnnrec.transfer import OWN, QUESTIONS, SCORERS, TESTED, Placed, Values, measured_values, place

RIDGE_L2 = 3.0


class Source:
    """What is trained on: its split and features, without the items that the target has too."""

    def __init__(self, name: str, recipe: Recipe, left_out: frozenset[str]) -> None:
        self.dataset = Dataset.load(FOLDERS[name])
        self.titles = plain_titles(self.dataset)
        self.shared = np.isin(self.titles, sorted(left_out))  # [I]
        self.parts = without_items(split(self.dataset, recipe.split_config(self.dataset)), self.shared)
        self.items = {
            modality: without_rows(made, self.shared)
            for modality, made in encode_dataset(self.dataset, recipe.encoders)[0].items()
        }

    def place(self, recipe: Recipe, target: Dataset) -> Placed:
        graph = training_graph(self.dataset, self.parts, self.items, {}, recipe)
        model, _ = fit_model(graph, self.parts.val, recipe)
        model.eval()
        return place(model, recipe, graph, {name: made.encoder for name, made in self.items.items()}, target)

    def popularity(self) -> NDArray[np.int64]:
        return np.bincount(self.parts.train.item, minlength=len(self.titles))


def plain_titles(dataset: Dataset) -> list[str]:
    """Letters and figures only, without what stands in brackets: years, other titles."""
    assert dataset.items is not None
    return [re.sub(r"[^a-z0-9]", "", re.sub(r"\(.*?\)", "", (title or "").lower())) for title in dataset.items.titles()]


def without_rows(made: Features, gone: NDArray[np.bool_]) -> Features:
    return dataclasses.replace(made, values=made.values * ~gone[:, None], mask=made.mask & ~gone)


def same_for_all(scores: NDArray[np.floating]) -> Scorer:
    row = torch.from_numpy(scores).float()
    return lambda users: row.repeat(len(users), 1)


def by_title(source: Source, target: Dataset) -> NDArray[np.float64]:
    rows: dict[str, int] = {}
    for title, count in zip(source.titles, source.popularity()):
        rows[title] = max(rows.get(title, 0), int(count))
    return np.array([rows.get(title, 0) for title in plain_titles(target)], dtype=np.float64)


def foretold(source: Source, placed: Placed) -> NDArray[np.float64]:
    own = {name: made for name, made in source.items.items() if name in placed.items}
    taken = source.popularity() > 0
    ridge = fit_ridge(side_by_side(own).values[taken], np.log1p(source.popularity()[taken])[:, None], l2=RIDGE_L2)
    scores: NDArray[np.float64] = ridge.predict(side_by_side(placed.items).values)[:, 0]
    return scores


def measure(source: Source, target: Dataset, recipe: Recipe, seed: int) -> dict[str, dict[str, Values]]:
    placed = source.place(dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, seed=seed)), target)
    titles, content = same_for_all(by_title(source, target)), same_for_all(foretold(source, placed))

    def of_titles(placed: Placed, known: Interactions, seed: int) -> Scorer:
        return titles

    def of_content(placed: Placed, known: Interactions, seed: int) -> Scorer:
        return content

    more = {"popularity there, by title": of_titles, "popularity there, foretold": of_content}
    return measured_values(placed, SCORERS | more, seed)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", choices=FOLDERS)
    parser.add_argument("target", choices=FOLDERS)
    parser.add_argument("--columns", default="", help="text columns, of both; default: each one's own")
    parser.add_argument("--keep-shared", action="store_true", help="train on items that the target has too")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the recipe tower")
    options = parser.parse_args()
    torch.set_num_threads(1)
    overrides = ["encoders.image=none", "encoders.audio=none", f"encoders.columns={options.columns}", *options.set]
    recipe, target = load_recipe("tower", overrides), Dataset.load(FOLDERS[options.target])
    left_out = frozenset() if options.keep_shared else frozenset(plain_titles(target))
    source, began = Source(options.source, recipe, left_out), time.monotonic()
    found = [measure(source, target, recipe, seed) for seed in options.seeds]
    seconds = (time.monotonic() - began) / len(found)
    shared = f"{int(source.shared.sum())} shared titles left out" if source.shared.any() else "no title left out"
    how = ", ".join(filter(None, [shared, options.columns.replace(",", "+"), *options.set]))
    name = f"{options.source} to {options.target} ({how})"
    rows = []
    for variant in found[0][QUESTIONS[0]]:
        values = [{f"{part} {TESTED}": mean(one, part, variant) for part in QUESTIONS} for one in found]
        rows.append(row(name, variant, options.seeds, values, seconds))
        print(name, variant, rows[-1]["metrics"], flush=True)
    save("transfer", rows)
    tests = {
        f"{OWN} against {variant}, {part}": tested(against(found, part, variant))
        for part in QUESTIONS
        for variant in found[0][part]
        if variant != OWN
    }
    for key, test in tests.items():
        print(key, test)
    save_tests(f"{name}, transfer", tests)


def mean(found: Mapping[str, Mapping[str, Values]], part: str, variant: str) -> float:
    return float(found[part][variant][1][TESTED].mean())


def against(found: list[dict[str, dict[str, Values]]], part: str, variant: str) -> Comparison:
    """Each user's mean over the seeds."""
    users = found[0][part][OWN][0]
    own, other = (np.mean([one[part][name][1][TESTED] for one in found], axis=0) for name in (OWN, variant))
    return compare(own, other, first_users=users, second_users=users)


if __name__ == "__main__":
    main()
