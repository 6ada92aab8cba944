"""What each modality is worth: the recipe trained with all, without one, with one alone, and with none.

One training gives two measures, on rows of train and validation alone: NDCG@10 on validation, and NDCG@10 among a fold
of items whose rows were all taken out of the training, so that only content can rank them. On validation these cold
items are no candidates: what users took of them was taken out, so that whoever ranks them where they belong would be
held to err. Weights are kept and closed forms weighed by validation, which favours all variants alike. A finished
training is kept and not repeated.

Letters: n users measured, I items.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.cold_items import without_items
from gnnrec.datasets import Dataset, Interactions, Split
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.evaluation import bootstrap, evaluate_ranking
from gnnrec.files import write_json
from gnnrec.fingerprints import fingerprint
from gnnrec.models import model_scorer
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.progress import progress
from gnnrec.ranking import Scorer
from gnnrec.recipe import Recipe
from gnnrec.significance import compare, holm
from gnnrec.words.content import Written

METRIC = "ndcg@10"
MEASURES = ("validation", "cold items")
MEASURED = "among warm items, among cold items"  # by which figures of another protocol are told from these
COLD_SHARE = 0.2  # of the items that have training rows

Measured = tuple[NDArray[np.int64], NDArray[np.float64]]  # users [n], their values [n]
Values = dict[str, Measured]  # by measure


@dataclass(frozen=True, slots=True)
class Trial:
    """What all variants share."""

    dataset: Dataset
    parts: Split  # without the rows of cold items; test is empty
    cold: NDArray[np.bool_]  # [I]
    cold_rows: Interactions  # what users took of them, in train and validation
    items: Mapping[str, Features]
    users: Mapping[str, Features]


def prepare(
    dataset: Dataset, parts: Split, items: Mapping[str, Features], users: Mapping[str, Features], seed: int = 0
) -> Trial:
    """Raises UserError where the split has no validation rows."""
    if not len(parts.val):
        raise UserError(f"modalities: the split of {dataset.name} has no validation rows to measure on")
    known = np.unique(parts.train.item)
    cold = np.zeros(parts.train.num_items, dtype=bool)
    cold[np.random.default_rng(seed).permutation(known)[: round(COLD_SHARE * len(known))]] = True
    taken = [log.rows(cold[log.item]) for log in (parts.train, parts.val)]
    rows = {side: np.concatenate([getattr(log, side) for log in taken]) for side in ("user", "item")}
    cold_rows = Interactions(**rows, num_users=parts.train.num_users, num_items=parts.train.num_items)
    return Trial(dataset, without_items(parts, cold), cold, cold_rows, items, users)


def ablate(
    trial: Trial,
    recipe: Recipe,
    seeds: Sequence[int] = (0,),
    out: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, list[dict[str, Any]]]:
    """`variants`: what each set of modalities reaches; `value`: what each modality adds, with paired 95 % intervals.

    A user's value is the mean over the seeds; intervals and p are over users, p_holm corrected within a measure.
    `out` keeps every finished training; the same call goes on there.
    """
    names = tuple(sorted(trial.items))
    sets = variants(names)
    found: dict[tuple[str, ...], Values] = {}
    runs = progress(total=len(sets) * len(seeds), text="ablation", unit="training")
    for kept in sets:
        by_seed = []
        for seed in seeds:
            began = time.monotonic()
            by_seed.append(measured(trial, recipe, kept, seed, out))
            values = ", ".join(f"{name} {part[1].mean():.4f}" for name, part in by_seed[-1].items())
            say(f"{called(kept)}, seed {seed}: {values} ({time.monotonic() - began:.0f} s)")
            runs.update(1)
        found[kept] = {
            name: (by_seed[0][name][0], np.mean([part[name][1] for part in by_seed], axis=0)) for name in by_seed[0]
        }
    runs.close()
    return {"variants": _levels(found, len(seeds)), "value": _differences(found, names)}


def variants(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The sets of modalities to train with, each once: all, all but one, one, none."""
    without = [tuple(other for other in names if other != name) for name in names]
    return list(dict.fromkeys([names, *without, *((name,) for name in names), ()]))


def called(kept: tuple[str, ...]) -> str:
    return " + ".join(kept) or "none"


def measured(trial: Trial, recipe: Recipe, kept: tuple[str, ...], seed: int, out: Path | None = None) -> Values:
    """One training with these modalities, or what is kept of it in `out`."""
    recipe = replace(recipe, train=replace(recipe.train, seed=seed))
    path = None if out is None else out / f"{'+'.join(kept) or 'none'}-{seed}-{_identity(trial, recipe, kept)}.json"
    if path is not None and path.is_file():
        document = json.loads(path.read_text(encoding="utf-8"))
        return {name: (np.array(part["users"]), np.array(part[METRIC])) for name, part in document.items()}
    items = {name: trial.items[name] for name in kept}
    graph = training_graph(trial.dataset, trial.parts, items, trial.users, recipe, Written())
    model, _ = fit_model(graph, trial.parts.val, recipe)
    model.eval()
    scorer = model_scorer(model, graph)
    values = dict(zip(MEASURES, (on_validation(trial, scorer), among_cold_items(trial, scorer))))
    if path is not None:
        write_json(path, {name: {"users": who.tolist(), METRIC: own.tolist()} for name, (who, own) in values.items()})
    return values


def on_validation(trial: Trial, scorer: Scorer) -> Measured:
    """Cold items are no candidates, see above."""
    train = trial.parts.train
    found = evaluate_ranking(
        scorer, relevant=trial.parts.val, train=train, seen=train, ks=(10,), candidates=~trial.cold, resamples=0
    )
    return found.users, found.per_user[METRIC]


def among_cold_items(trial: Trial, scorer: Scorer) -> Measured:
    train = trial.parts.train
    found = evaluate_ranking(
        scorer, relevant=trial.cold_rows, train=train, seen=None, ks=(10,), candidates=trial.cold, resamples=0
    )
    return found.users, found.per_user[METRIC]


def _identity(trial: Trial, recipe: Recipe, kept: tuple[str, ...]) -> str:
    """A hash of all that a training depends on."""
    digest = hashlib.sha256((MEASURED + recipe.to_toml() + fingerprint(trial.dataset)).encode())
    for log in (trial.parts.train, trial.parts.val):
        digest.update(log.user.tobytes() + log.item.tobytes())
    digest.update(b"-" if trial.dataset.friends is None else trial.dataset.friends.tobytes())
    for content in ({name: trial.items[name] for name in kept}, trial.users):
        for name in sorted(content):
            digest.update(name.encode() + content[name].values.tobytes() + content[name].mask.tobytes())
    return digest.hexdigest()[:16]


def _levels(found: Mapping[tuple[str, ...], Values], num_seeds: int) -> list[dict[str, Any]]:
    rows = []
    for kept, values in found.items():
        row: dict[str, Any] = {"modalities": called(kept), "seeds": num_seeds}
        for name, (_, own) in values.items():
            row |= {name: float(own.mean()), f"{name} interval": bootstrap({METRIC: own})[METRIC]}
        rows.append(row)
    return rows


def _differences(found: Mapping[tuple[str, ...], Values], names: tuple[str, ...]) -> list[dict[str, Any]]:
    questions = ("with all others", "alone") if len(names) > 1 else ("alone",)
    rows = []
    for measure in MEASURES:
        mine: list[dict[str, Any]] = []
        for name in names:
            without = tuple(other for other in names if other != name)
            for question in questions:
                first, second = (names, without) if question != "alone" else ((name,), ())
                (users, values), (other_users, other_values) = found[first][measure], found[second][measure]
                one = compare(values, other_values, first_users=users, second_users=other_users)
                mine.append(
                    {
                        "modality": name,
                        "added": question,
                        "measure": measure,
                        "users": one.num_users,
                        METRIC: one.difference,
                        "interval": list(one.interval),
                        "p": one.p_randomisation,
                    }
                )
        corrected = holm({str(place): row["p"] for place, row in enumerate(mine)})
        rows += [row | {"p_holm": corrected[str(place)]} for place, row in enumerate(mine)]
    return rows
