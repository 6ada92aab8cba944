"""Cold items: can content alone rank items that nobody has taken yet?

    python scripts/bench/cold.py music --variants random,popularity,audio

The items are dealt into folds (by seed). For each fold all interactions of its items are taken out of train and val,
the model is trained on the rest, and for every user who took at least one of the fold's items these are ranked among
the fold's items only. A user's value is the mean over the folds she appears in; the values of all users are
compared by the paired randomisation test. "random" scores by chance, "popularity" by train counts, all zero here.
A modality may name its encoder: "audio=log_mel"; "audio=recurrent:both" and its like are fitted anew for each fold and
seed, to the rows of the warm items alone, by that objective; "audio=recurrent:both:lstm" and
"audio=recurrent:both:gru:one_way" name the cell and the directions too. With --use-folds a row says how many of the
folds it is of, and takes no other row's place.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDERS
from rows import row, save, save_tests, tested

from gnnrec.cold_items import FOLDS, cold_values, folds_of
from gnnrec.datasets import Dataset, Split, split
from gnnrec.encoders import encode_dataset
from gnnrec.encoders.fitted.recurrent import RecurrentConfig
from gnnrec.fitting import fit_encoder
from gnnrec.models import model_scorer
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.ranking import Scorer
from gnnrec.recipe import load_recipe
from gnnrec.significance import compare

CONTENT = ("text", "image", "audio")
METRIC = "ndcg@10"
RECURRENT, DIRECTIONS = "recurrent:", ("both_ways", "one_way")
PLAIN = ("random", "popularity", "no content", "audio=log_mel")  # what the others are tested against


def recurrent_of(text: str, seed: int) -> RecurrentConfig:
    """OBJECTIVE[:CELL[:DIRECTIONS]], a bidirectional GRU where they are not named."""
    objective, cell, directions = (*text.split(":"), *("both", "gru", "both_ways")[text.count(":") + 1 :])
    if directions not in DIRECTIONS:
        raise SystemExit(f"--variants: found {directions!r} in {RECURRENT}{text}; allowed: {', '.join(DIRECTIONS)}")
    return RecurrentConfig(objective=objective, cell=cell, both_ways=directions == "both_ways", seed=seed)


def scorer_of(variant: str, dataset: Dataset, warm: Split, seed: int, overrides: list[str]) -> Scorer:
    """`warm`: the split without the rows of the fold."""
    if variant == "random":
        generator = torch.Generator().manual_seed(seed)
        return lambda users: torch.rand(len(users), warm.train.num_items, generator=generator)
    if variant == "popularity":
        recipe = load_recipe("popularity")
    else:
        parts = [] if variant == "no content" else [part.partition("=") for part in variant.split("+")]
        kept = {name: encoder for name, _, encoder in parts}
        chosen = [f"encoders.{name}={kept[name]}" for name in kept if kept[name]]
        off = [f"encoders.{name}=none" for name in CONTENT if name not in kept]
        if kept.get("audio", "").startswith(RECURRENT):
            recipe, folder = load_recipe(None, off), Path(tempfile.mkdtemp()) / "encoder"
            config = recurrent_of(kept["audio"].removeprefix(RECURRENT), seed)
            fit_encoder(dataset, folder, "recurrent", config, recipe=recipe, parts=warm)
            chosen = [f"encoders.audio={folder}"]
        recipe = load_recipe(None, [*off, *chosen, *overrides, f"train.seed={seed}"])
    items, users = encode_dataset(dataset, recipe.encoders)
    graph = training_graph(dataset, warm, items, users, recipe)
    model, _ = fit_model(graph, warm.val, recipe)
    model.eval()
    return model_scorer(model, graph)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--variants", default="random,popularity,audio")
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--use-folds", type=int, help="only the first so many")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the default recipe")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = Dataset.load(FOLDERS[options.dataset])
    log, parts = dataset.interactions, split(dataset)
    folds, used = folds_of(log.num_items, options.folds), range(options.use_folds or options.folds)
    variants, users = options.variants.split(","), np.zeros(0, np.int64)
    values: dict[str, np.ndarray] = {}  # [seeds, users]
    seconds = dict.fromkeys(variants, 0.0)
    for variant in variants:
        by_seed = []
        for seed in options.seeds:
            began = time.monotonic()
            make = partial(scorer_of, variant, dataset, seed=seed, overrides=options.set)
            users, by_user = cold_values(log, parts, make, folds=folds, used=used)
            seconds[variant] += time.monotonic() - began
            by_seed.append(by_user[METRIC])
            print(variant, seed, f"{by_user[METRIC].mean():.4f} over {len(users)} users", flush=True)
        values[variant] = np.stack(by_seed)
    name = f"{options.dataset}, cold items"
    if options.use_folds:
        name += f", {options.use_folds} of {options.folds} folds"
    rows = [
        row(
            name,
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
    save_tests(name, tests)


if __name__ == "__main__":
    main()
