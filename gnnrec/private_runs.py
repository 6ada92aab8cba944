"""Runs under differential privacy: the recipe, what a dataset has to be for it, and the line about what was spent."""

import math
from collections.abc import Sequence
from typing import Any

from gnnrec.datasets import SPLIT_NAMES, Dataset
from gnnrec.encoders.encode import MODALITIES
from gnnrec.encoders.fitted.folder import facts_of
from gnnrec.errors import UserError
from gnnrec.models import MODELS, Model
from gnnrec.models.private import PrivateModel
from gnnrec.recipe import Recipe, load_recipe

DEFAULT = "dp_filter"
OWN = ("published", "leave_last", "user_time")  # splits that cut each user by her own rows alone
PRIVATE = [name for name, (kind, _) in MODELS.items() if issubclass(kind, PrivateModel)]


def private_recipe(name: str | None, overrides: Sequence[str], epsilon: float | None, delta: float | None) -> Recipe:
    """The recipe of gnnrec train --epsilon; dp_filter where none is named. Raises UserError for one without privacy."""
    model = load_recipe(name or DEFAULT, overrides).model_name
    if model not in PRIVATE:
        raise UserError(
            f"train --epsilon: found the model {model}, which has no privacy; allowed: {', '.join(PRIVATE)}"
        )
    typed = {"epsilon": epsilon, "delta": delta}
    return load_recipe(
        name or DEFAULT, [*overrides, *(f"model.{key}={value}" for key, value in typed.items() if value is not None)]
    )


def check_private(dataset: Dataset, recipe: Recipe, method: str) -> None:
    """Raises UserError where a model is to be private and something beside it would show who is in the log.

    method: how the log is split; which rows of a user train may not depend on other users.
    """
    if recipe.model_name not in PRIVATE:
        return
    allowed = f"allowed with {recipe.model_name}"
    if dataset.items is None and not dataset.item_features:
        raise UserError(f"{dataset.root}: without a file of items their list is what users took; {allowed}: [items]")
    if core := recipe.split_config(dataset).min_core:
        raise UserError(f"split.min_core: found {core}, by which users depend on each other; {allowed}: 0")
    if method not in OWN or (method == "published" and not has_validation(dataset)):
        found = "published, without validation rows" if method == "published" else method
        raise UserError(f"split.method: found {found}, which cuts users by each other; {allowed}: {', '.join(OWN)}")
    if dataset.retention_days is not None:
        raise UserError(f"retention_days: found {dataset.retention_days:g}, counted from others' rows; {allowed}: none")
    if recipe.graph.robust:
        raise UserError(f"graph.robust: found {recipe.graph.robust}, by which users depend on each other; {allowed}: 0")
    for modality in recipe.finetune.chosen():
        raise UserError(f"finetune.{modality}: learns the log without privacy; {allowed}: none")
    for modality in MODALITIES:
        encoder = recipe.encoders.encoder_of(modality)
        if (facts_of(encoder) or {}).get("learnt_from"):
            raise UserError(f"encoders.{modality}: {encoder} learnt a log without privacy; {allowed}: one that did not")


def has_validation(dataset: Dataset) -> bool:
    part = dataset.published_split
    return part is not None and bool((part == SPLIT_NAMES.index("val")).any())


def privacy_of(model: Model) -> dict[str, Any]:
    """What a run's record says of the privacy of its model; nothing where there is none."""
    spent = model.privacy() if isinstance(model, PrivateModel) else {"epsilon": math.inf}
    return {} if math.isinf(spent["epsilon"]) else {"privacy": spent}


def private_line(spent: dict[str, Any]) -> str:
    """What a run's record says of privacy, in a line."""
    return (
        f"private item side: epsilon {spent['epsilon']:.4g}, delta {spent['delta']:g} for a whole {spent['unit']} "
        f"({spent['mechanism']}, noise {spent['noise_multiplier']:.4g})"
    )
