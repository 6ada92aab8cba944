"""Encoder by fusion: what each encoder of each modality is worth alone, and what each fusion makes of all modalities.

    python scripts/bench/content.py movies --seeds 0 1 2 --keep kept/content

The protocol is that of `gnnrec modalities`: one training gives NDCG@10 on validation, and NDCG@10 among a fifth of the
items whose rows were all taken out of it, another fifth for each seed. No test row is looked at. The model is smaller
than the default (SETTINGS), so that a table takes an hour and not a day. A user's value is the mean over the seeds that
measured her; intervals are over users, tests paired. Encoders of one's own (lsa, word_vectors, recurrent) are fitted
for each seed to the rows that are left. In a row of several modalities each is encoded by the first of its encoders.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDERS
from rows import row, save, save_tests, tested

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import encode_dataset
from gnnrec.encoders.features import Features
from gnnrec.encoders.fitted.kinds import KINDS
from gnnrec.evaluation import bootstrap
from gnnrec.fitting import fit_encoder
from gnnrec.fusion import FUSIONS
from gnnrec.modalities.ablation import MEASURES, METRIC, Trial, Values, measured, prepare
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.significance import compare

SETTINGS = ("train.epochs=12", "model.dim=64", "model.heads=0")
TEXTS = ("use", "minilm", "lsa", "word_vectors")
ENGLISH = ("minilm", "use", "lsa", "word_vectors")
PICTURES = ("efficientnet_lite0", "opencv")
ENCODERS: dict[str, dict[str, Sequence[str]]] = {  # "given": features that the folder brings
    "movies": {"text": ENGLISH, "image": PICTURES},
    "ml100k": {"text": ENGLISH, "image": PICTURES},
    "music": {"audio": ("musicnn", "resemblyzer", "log_mel", "recurrent"), "text": TEXTS},
    "lfm2k": dict.fromkeys(("text", "audio_vggish", "audio_whisper"), ("given",)),
    "beauty": {"text": TEXTS},
    "courses": {"text": TEXTS},
}
ENCODED = ("text", "image", "audio")


def variants(name: str, fusions: Sequence[str]) -> Iterator[tuple[str, dict[str, str], str]]:
    """Label, encoder of each modality, fusion."""
    yield "none", {}, "attention"
    for modality, encoders in ENCODERS[name].items():
        for encoder in encoders:
            yield f"{modality} ({encoder})", {modality: encoder}, "attention"
    if len(ENCODERS[name]) > 1:
        every = {modality: encoders[0] for modality, encoders in ENCODERS[name].items()}
        for fusion in fusions:
            yield f"{' + '.join(every)}, {fusion}", every, fusion


def features_of(dataset: Dataset, trial: Trial, modality: str, encoder: str, recipe: Recipe, folder: Path) -> Features:
    name = encoder
    if encoder in KINDS:
        name = str(folder / encoder)
        if not Path(name).exists():
            fit_encoder(dataset, Path(name), encoder, recipe=recipe, parts=trial.parts)
    chosen = [f"encoders.{other}={name if other == modality else 'none'}" for other in ENCODED]
    return encode_dataset(dataset, load_recipe(None, chosen if encoder != "given" else []).encoders)[0][modality]


def by_user(runs: Sequence[Values], measure: str) -> tuple[np.ndarray, np.ndarray]:
    values = defaultdict(list)
    for run in runs:
        for user, value in zip(*run[measure]):
            values[int(user)].append(float(value))
    users = np.array(sorted(values))
    return users, np.array([np.mean(values[user]) for user in users])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=ENCODERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fusions", nargs="+", choices=FUSIONS, default=list(FUSIONS))
    parser.add_argument("--keep", type=Path, default=Path("kept/content"), help="folder of finished trainings")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name, dataset = options.dataset, Dataset.load(FOLDERS[options.dataset])
    found: dict[str, list[Values]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    for seed in options.seeds:
        trial = prepare(dataset, split(dataset), {}, encode_dataset(dataset, load_recipe().encoders)[1], seed)
        folder = options.keep / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        for label, encoders, fusion in variants(name, options.fusions):
            recipe, began = load_recipe(None, [*SETTINGS, f"model.fusion={fusion}"]), time.monotonic()
            items = {
                modality: features_of(dataset, trial, modality, encoder, recipe, folder)
                for modality, encoder in encoders.items()
            }
            own = replace(trial, items=items)
            found[label].append(measured(own, recipe, tuple(sorted(encoders)), seed, folder))
            seconds[label] += time.monotonic() - began
            print(seed, label, {key: f"{part[1].mean():.4f}" for key, part in found[label][-1].items()}, flush=True)
    save("content", [entry(name, label, runs, options.seeds, seconds[label]) for label, runs in found.items()])
    save_tests(f"{name}, content", tests(found))


def entry(name: str, label: str, runs: Sequence[Values], seeds: Sequence[int], seconds: float) -> dict:
    values = [{measure: float(run[measure][1].mean()) for measure in MEASURES} for run in runs]
    users = {measure: by_user(runs, measure)[1] for measure in MEASURES}
    intervals = {measure: bootstrap({METRIC: own})[METRIC] for measure, own in users.items()}
    means = {
        measure: float(own.mean()) for measure, own in users.items()
    }  # not those of the seeds: each has other users
    return row(name, label, seeds, values, seconds / len(seeds), intervals=intervals) | {"metrics": means}


def tests(found: dict[str, list[Values]]) -> dict:
    """Every variant against none, and several modalities against the one that ranks cold items best alone."""
    single = [label for label in found if "(" in label]
    cold = MEASURES[1]
    best = max(single, key=lambda label: by_user(found[label], cold)[1].mean())
    results = {}
    for label, runs in found.items():
        for measure in MEASURES:
            for other in ("none", best) if label not in single else ("none",):
                if label != other and label != "none":
                    (users, own), (others, theirs) = (by_user(side, measure) for side in (runs, found[other]))
                    one = compare(own, theirs, first_users=users, second_users=others)
                    results[f"{label} against {other}, {measure}"] = tested(one)
    return results


if __name__ == "__main__":
    main()
