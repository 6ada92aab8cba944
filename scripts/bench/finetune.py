"""Encoders fine-tuned on the log, beside the same encoders frozen.

    python scripts/bench/finetune.py movies text lora full
    python scripts/bench/finetune.py movies image lora full --set encoder.epochs=2
    python scripts/bench/finetune.py music audio lora full --set encoder.base=resemblyzer
    python scripts/bench/finetune.py music audio recurrent "recurrent, augment"

Every variant is set against the frozen encoder, augmentation of the recurrent one against none.
A fifth of the items is cold: their rows are taken out before anything learns. Measured by content alone, a user being
the mean of what she took: NDCG@10 on validation and among the cold items; and with --graph by the model trained on
these features alone. No test row is looked at.
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import FOLDERS
from rows import row, save, save_tests, tested

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import default_device
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import encode_contents
from gnnrec.encoders.features import Features
from gnnrec.encoders.fitted.finetuned import DEFAULTS
from gnnrec.encoders.fitted.kinds import KINDS
from gnnrec.files import write_json
from gnnrec.finetuning import users_of
from gnnrec.fitting import fit_encoder
from gnnrec.modalities.ablation import MEASURES, METRIC, Trial, Values, measured, on_validation, prepare
from gnnrec.modalities.cold import cold_by_content, side_by_side
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.ranking import embedding_scorer
from gnnrec.recipe import Recipe, load_recipe, load_settings
from gnnrec.significance import compare
from gnnrec.vectors import unit_length
from gnnrec.words.content import Written

# variant -> kind, and its settings
VARIANTS = {
    "lora": ("finetuned", ["encoder.how=lora"]),
    "full": ("finetuned", ["encoder.how=full"]),
    "lora, users": ("finetuned", ["encoder.how=lora", "encoder.signal=users"]),
    "lora, recommender": ("finetuned", ["encoder.how=lora", "encoder.signal=recommender"]),
    "full, recommender": ("finetuned", ["encoder.how=full", "encoder.signal=recommender"]),
    "lora, augment": ("finetuned", ["encoder.how=lora", "encoder.augment=true"]),
    "lora, views": ("finetuned", ["encoder.how=lora", "encoder.objective=views"]),
    "lora, both": ("finetuned", ["encoder.how=lora", "encoder.objective=both"]),
    "full, augment": ("finetuned", ["encoder.how=full", "encoder.augment=true"]),
    "recurrent": ("recurrent", ["encoder.objective=log"]),
    "recurrent, augment": ("recurrent", ["encoder.objective=log", "encoder.augment=true"]),
}
FROZEN, BASE = "frozen", "encoder.base="


def features_of(trial: Trial, modality: str, encoder: str) -> Features:
    assert trial.dataset.items is not None
    contents = trial.dataset.items.content(modality)
    return encode_contents(contents, modality, open_encoder(modality, encoder, default_device()), Recipe().encoders)


def fitted(trial: Trial, modality: str, variant: str, seed: int, recipe: Recipe, own: list[str]) -> Features:
    """The features of all items by an encoder fitted to the rows of warm items."""
    kind, settings = VARIANTS[variant]
    more = [f"encoder.modality={modality}"] if kind == "finetuned" else []
    (config,) = load_settings({"encoder": KINDS[kind].config}, [*settings, *more, *own, f"encoder.seed={seed}"])
    users = None
    if "recommender" in variant:
        graph = training_graph(trial.dataset, trial.parts, trial.items, trial.users, recipe, Written())
        users = users_of(fit_model(graph, trial.parts.val, recipe)[0], graph)
    folder = Path(tempfile.mkdtemp()) / "encoder"
    made = fit_encoder(trial.dataset, folder, kind, config, parts=trial.parts, users=users)
    print("  ", {name: made[name] for name in ("best_epoch", "held_out", "ndcg@10")}, flush=True)
    return features_of(trial, modality, str(folder))


def content_values(trial: Trial) -> Values:
    """NDCG@10 by content alone, by user."""
    item = unit_length(side_by_side(trial.items).values)
    user = torch.from_numpy(unit_length(trial.parts.train.matrix() @ item)).float()
    scorer = embedding_scorer(user, torch.from_numpy(item).float())
    return {"validation": on_validation(trial, scorer)} | cold_by_content(trial, "mean of content")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("modality", choices=("text", "image", "audio"))
    parser.add_argument("variants", nargs="+", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--graph", action="store_true", help="train the model on these features, too")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the encoder and of the default recipe")
    parser.add_argument("--keep", type=Path, help="folder of what was measured; the same command goes on there")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    own = [setting for setting in options.set if setting.startswith("encoder.")]
    recipe = load_recipe(None, [setting for setting in options.set if setting not in own])
    dataset = Dataset.load(FOLDERS[options.dataset])
    parts = split(dataset, recipe.split_config(dataset))
    bases = [setting.removeprefix(BASE) for setting in own if setting.startswith(BASE)]
    base = bases[-1] if bases else DEFAULTS[options.modality]
    trial = prepare(dataset, parts, {}, {})
    frozen = replace(trial, items={options.modality: features_of(trial, options.modality, base)})
    called, rows = ", ".join([options.dataset, options.modality, *bases]), []
    found: dict[str, Values] = {}  # means over the seeds
    for variant in dict.fromkeys([FROZEN, *options.variants]):
        runs, seconds = [], 0.0
        for seed in options.seeds:
            path = options.keep / f"{called}, {variant}, {seed}.json" if options.keep else None
            if path is None or not path.exists():
                began, own_trial = time.monotonic(), frozen
                if variant != FROZEN:
                    features = fitted(frozen, options.modality, variant, seed, recipe, own)
                    own_trial = replace(trial, items={options.modality: features})
                values = content_values(own_trial)
                if options.graph:
                    by_graph = measured(own_trial, recipe, (options.modality,), seed)
                    values |= {f"graph, {measure}": by_graph[measure] for measure in MEASURES}
                kept = {name: {"users": who.tolist(), METRIC: own.tolist()} for name, (who, own) in values.items()}
                document: dict[str, Any] = {"seconds": time.monotonic() - began, "values": kept}
                if path:
                    write_json(path, document)
            else:
                document = json.loads(path.read_text(encoding="utf-8"))
            runs.append({name: (np.array(p["users"]), np.array(p[METRIC])) for name, p in document["values"].items()})
            seconds += document["seconds"] / len(options.seeds)
            print(variant, seed, {name: f"{part[1].mean():.4f}" for name, part in runs[-1].items()}, flush=True)
        means = [{f"{name} {METRIC}": float(part[1].mean()) for name, part in run.items()} for run in runs]
        name = variant if "recurrent" in variant else f"{base}: {variant}"
        rows.append(row(called, name, options.seeds, means, seconds))
        found[variant] = {
            name: (users, np.mean([run[name][1] for run in runs], axis=0)) for name, (users, _) in runs[0].items()
        }
    save("finetune", rows)
    tests = {}
    for variant in [name for name in found if name != FROZEN]:
        against = "recurrent" if variant.startswith("recurrent,") and "recurrent" in found else FROZEN
        for measure, (users, value) in found[variant].items():
            other_users, other = found[against][measure]
            one = compare(value, other, first_users=users, second_users=other_users)
            tests[f"{variant} against {against}, {measure}"] = tested(one)
            print(variant, measure, tested(one), flush=True)
    save_tests(f"{called}, fine-tuning", tests)


if __name__ == "__main__":
    main()
