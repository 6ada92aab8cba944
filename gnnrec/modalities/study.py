"""The whole study of a dataset as one document."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import encode_dataset
from gnnrec.errors import UserError
from gnnrec.modalities.ablation import ablate, prepare
from gnnrec.modalities.agreement import agreement
from gnnrec.modalities.consumption import co_consumption
from gnnrec.modalities.meeting import retrieval
from gnnrec.modalities.missing import gain_left
from gnnrec.pipeline import written_content
from gnnrec.recipe import Recipe

SECTIONS = ("agreement", "alignment", "consumption", "ablation")
EPOCHS = 20  # of a training of the ablation: enough to tell modalities apart, not the best a recipe can do


def study_modalities(
    dataset: Dataset,
    recipe: Recipe | None = None,
    *,
    out: Path | None = None,
    seeds: int = 1,
    epochs: int = EPOCHS,
    skip: Collection[str] = (),
    missing: Sequence[float] = (),
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """`modalities` (what there is) and every section that is not skipped, in what JSON can hold.

    Of the log only train and validation rows are looked at. Modalities are those of items: encoded, made elsewhere,
    and generated texts where the recipe has them. `seeds` are of alignment and ablation, counted from train.seed.
    missing: shares of the contents to take away, each in every pattern and with every method of graph.missing.
    `out` keeps the trainings of ablation and missing content, so that the same call goes on after a stop.
    Raises UserError for data without item content, and where there are no validation rows to measure trainings on.
    """
    recipe = (recipe or Recipe()).resolved(dataset)
    recipe.refuse_finetuning("modalities")
    for name, number in (("--seeds", seeds), ("--epochs", epochs)):
        if number < 1:
            raise UserError(f"modalities {name}: found {number}; allowed: 1 or more")
    if unknown := sorted(set(skip) - set(SECTIONS)):
        raise UserError(f"modalities --skip: found {unknown[0]!r}; allowed: {', '.join(SECTIONS)}")
    if wrong := [share for share in missing if not 0 < share < 1]:
        raise UserError(f"modalities --missing: found {wrong[0]:g}; allowed: above 0, below 1")
    parts = split(dataset, recipe.split_config(dataset))
    items, users = encode_dataset(dataset, recipe.encoders)
    written = written_content(dataset, parts, items, recipe, say)
    features = {name: part for name, part in {**items, **written.items}.items() if part.mask.any()}
    if not features:
        raise UserError(f"{dataset.root}: its items have no content; allowed: text, image, audio or [features.NAME]")
    users = {**users, **written.users}
    numbers = [recipe.train.seed + place for place in range(seeds)]
    study: dict[str, Any] = {
        "dataset": dataset.name,
        "modalities": [
            {
                "modality": name,
                "encoder": part.encoder,
                "dimensions": part.values.shape[1],
                "items": int(part.mask.sum()),
                "share": float(part.mask.mean()),
            }
            for name, part in sorted(features.items())
        ],
    }
    if "agreement" not in skip:
        study["agreement"] = agreement(features, recipe.train.seed, say)
    if "alignment" not in skip:
        study["alignment"] = retrieval(features, parts.train, numbers, say)
    if "consumption" not in skip:
        study["consumption"] = co_consumption(features, parts.train, recipe.train.seed, say)
    recipe = replace(recipe, train=replace(recipe.train, epochs=epochs))
    if "ablation" not in skip:
        trial = prepare(dataset, parts, features, users, recipe.train.seed)
        study["ablation"] = ablate(trial, recipe, numbers, out, say)
    if missing:
        trials = [prepare(dataset, parts, features, users, number) for number in numbers]
        study["missing"] = gain_left(trials, recipe, missing, out, say=say)
    return study
