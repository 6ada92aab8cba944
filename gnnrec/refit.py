"""The verb refit: train a run once more, on its validation rows too, now that these have chosen all there is to choose.

A training holds back each user's latest rows to know when to stop, and so never learns what people like now. Refit
takes what was chosen - the number of epochs, the weights of factors, waves and paths - and trains a new run from the
beginning on train and validation together, without looking at anything (Goodfellow et al. 2016, "Deep Learning",
algorithm 7.2).
There are no figures on validation then; test rows stay unseen.
"""

from collections.abc import Callable
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.lineage import steps_of
from gnnrec.pipeline import train
from gnnrec.run_folder import Run
from gnnrec.successor import begin, recipe_of


def refit(
    old: Run,
    out: Path,
    *,
    data: Path | None = None,
    seed: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """A new run in `out` of all that `old` knew; a stopped call goes on.

    data: the dataset's folder, where it has moved. seed: of the new training, by default the old one's. The old run's
    train.minutes does not end it. Raises UserError for a run without validation rows or one that is private, where the
    data changed, and as `pipeline.train`.
    """
    if not len(old.val):
        raise UserError(f"{old.folder}: has no validation rows that could be learnt; allowed: gnnrec train")
    dataset = begin(old, out, data, "refit")
    epochs = max(old.provenance["best_epoch"], 1)
    seed = old.recipe.train.seed if seed is None else seed
    recipe = recipe_of(old, [f"train.epochs={epochs}", f"train.seed={seed}", "train.minutes=0"])
    say(f"{len(old.train):,} and {len(old.val):,} rows, {epochs} epochs")
    return train(dataset, out, recipe, like=old, earlier=steps_of(old), say=say)
