"""A run that is made of another one, by update or refit: whether it may be, on which data, by which settings."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gnnrec.datasets import Dataset
from gnnrec.due import read_due
from gnnrec.encoders.fitted.finetuned import FinetuneConfig
from gnnrec.errors import UserError
from gnnrec.pipeline import held_out
from gnnrec.recipe import Recipe, with_overrides
from gnnrec.run_folder import Run
from gnnrec.vault import encrypt_folder, is_encrypted


def begin(old: Run, out: Path, data: Path | None, verb: str) -> Dataset:
    """The data that `old` was trained on; `out` is encrypted where `old` is.

    data: the dataset's folder, where it has moved. Raises UserError for a private run, one that is due to forget
    somebody, and where the data changed.
    """
    if "privacy" in old.provenance:
        raise UserError(
            f"{old.folder}: is private; its weights once more would spend epsilon twice; allowed: gnnrec train"
        )
    if read_due(old.folder):
        raise UserError(f"{old.folder}: users are due to be forgotten; gnnrec forget makes the run to {verb}")
    dataset = old.dataset(data)
    held_out(old, dataset)  # the folder is what the run was trained on
    if is_encrypted(old.folder):
        encrypt_folder(out)
    return dataset


def recipe_of(old: Run, settings: Sequence[str]) -> Recipe:
    """The old run's settings with others laid over them; its own encoders stay as they are."""
    recipe = with_overrides(old.recipe, settings)
    return replace(recipe, encoders=old.recipe.encoders_in(old.folder), finetune=FinetuneConfig())
