"""What it brings to learn the validation rows too, once they have chosen: `gnnrec refit` beside the run it comes from.

    python scripts/bench/refit.py data/movies --recipes default,ease --seeds 0 1 2 --keep kept
    python scripts/bench/refit.py ../shared/data/gowalla --refit-seeds 0 1 2 3 4 --keep kept
    python scripts/bench/refit.py data/movies --set model.sequence=64 --seeds 0 1 2 --keep kept --shuffle-ties

--refit-seeds: the first run alone chooses (a large log takes hours), and is refitted under each of these seeds.
--shuffle-ties: rows of one second stand in the order of the file, that of the item ids in movies; here each tie is
dealt anew.

Of a published split without validation (gowalla's) a tenth of each user's train rows chooses; the refit learns all of
its train rows, as those did whose figures were published.

A run and its refit have the same histories at test; what differs is what their weights were learnt from. Trainings are
kept in --keep, so that a stopped call goes on there. Both are measured on test over the full catalogue, and the
per-user means over the seeds are compared by paired tests.
"""

import argparse
import gzip
import os
import shutil
import statistics
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rows import row, save, tested

from gnnrec.datasets import Dataset
from gnnrec.files import new_folder
from gnnrec.pipeline import evaluate, train
from gnnrec.recipe import load_recipe
from gnnrec.refit import refit
from gnnrec.run_folder import Run
from gnnrec.significance import compare

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
SEEDLESS = ("ease", "popularity", "item_knn", "transition", "slist")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipes", default="default")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--refit-seeds", type=int, nargs="+", help="of one run, that of the first of --seeds")
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over every recipe; named in the rows")
    parser.add_argument("--keep", type=Path, required=True, help="a folder for the runs; finished ones there are taken")
    parser.add_argument("--shuffle-ties", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.shuffle_ties:
        options.data = ties_shuffled(options.data, options.keep)
    dataset = Dataset.load(options.data)
    for name in options.recipes.split(","):
        recipe = " ".join([name, *options.set])
        seeds = [0] if name in SEEDLESS else options.seeds
        runs: dict[str, dict[int, Run]] = {"once": {}, "refitted": {}}  # of each seed
        for seed in seeds[: 1 if options.refit_seeds else None]:
            folder = options.keep / f"{options.data.name} {recipe} {seed}"
            if not (folder / "run.json").exists():
                train(dataset, folder, load_recipe(name, [*options.set, f"train.seed={seed}"]))
            old = runs["once"][seed] = Run.load(folder)
            for again in options.refit_seeds or [seed]:
                new = folder.with_name(f"{options.data.name} {recipe} {again} refitted")
                if not (new / "run.json").exists():
                    refit(old, new, data=options.data, seed=again)
                runs["refitted"][again] = Run.load(new)
        found = {
            which: [evaluate(run, dataset=dataset, mask="train+val") for run in ones.values()]
            for which, ones in runs.items()
        }
        mean = {
            which: {m: np.mean([one.per_user[m] for one in ones], axis=0) for m in METRICS}
            for which, ones in found.items()
        }
        users = found["once"][0].users, found["refitted"][0].users
        tests = {
            m: tested(compare(mean["refitted"][m], mean["once"][m], first_users=users[1], second_users=users[0]))
            for m in METRICS
        }
        rows = []
        for which, ones in found.items():
            told = [run.provenance for run in runs[which].values()]
            values = [{m: one.metrics[m] for m in METRICS} | {"epochs": t["best_epoch"]} for one, t in zip(ones, told)]
            seconds = statistics.fmean(one["total_seconds"] for one in told)
            more = {"load": os.getloadavg()[0]} | ({"against once": tests} if which == "refitted" else {})
            rows.append(row(dataset.name, f"{recipe}, {which}", [*runs[which]], values, seconds, **more))
            print(rows[-1]["dataset"], rows[-1]["variant"], rows[-1]["metrics"], more.get("against once"), flush=True)
        save("refit", rows)


def ties_shuffled(source: Path, keep: Path) -> Path:
    """The dataset with its log in random order, of which reading keeps what times do not decide."""
    folder = keep / f"{source.name}, ties shuffled"
    if not folder.exists():
        described = (source / "dataset.toml").read_text(encoding="utf-8")
        told = tomllib.loads(described)
        log = told["interactions"]["path"]
        with new_folder(folder) as made:
            shutil.copytree(source, made, dirs_exist_ok=True)
            name = f'name = "{told["name"]}'
            (made / "dataset.toml").write_text(described.replace(name, f"{name}, ties shuffled"), encoding="utf-8")
            rows = pl.read_csv(source / log, infer_schema=False).sample(fraction=1, shuffle=True, seed=0)
            (made / log).write_bytes(gzip.compress(rows.write_csv().encode()))
    return folder


if __name__ == "__main__":
    main()
