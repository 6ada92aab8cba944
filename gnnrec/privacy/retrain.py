"""A run made anew on data without a user, by all the steps that made it: training, updates, refit.

Each step starts from what the step before makes of the same data: older runs, which have seen her, are not read.

    RUN.forgetting.steps/N    what step N made, until the next one is there; the last one is made in RUN.forgetting
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gnnrec import finetuning
from gnnrec.datasets import Dataset
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.encoders.encode import MODALITIES
from gnnrec.encoders.fitted.folder import facts_of
from gnnrec.errors import UserError
from gnnrec.fingerprints import fingerprint
from gnnrec.lineage import Step, steps_of
from gnnrec.recipe import Recipe, parse_toml, with_overrides
from gnnrec.refit import refit
from gnnrec.run_folder import Run
from gnnrec.successor import begin
from gnnrec.untrusted import parse_json
from gnnrec.update import FILE as MEASURED
from gnnrec.update import take_in
from gnnrec.vault import is_encrypted, read_bytes, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How a run was made: its steps, each with its recipe, the oldest first."""

    run: Run
    steps: tuple[Step, ...]
    recipes: tuple[Recipe, ...]

    @classmethod
    def of(cls, run: Run, settings: Sequence[str]) -> "History":
        """settings: laid over those of every step. Raises UserError where a step cannot be taken again."""
        steps = steps_of(run)
        if not steps:
            raise UserError(
                f"{run.folder}: its run.json does not say by which steps it was made; allowed: take the rows of this "
                "user out of the data, then gnnrec train"
            )
        recipes = [Recipe.from_dict(parse_toml(step.settings, step.folder), step.folder) for step in steps]
        if len(steps) > 1 and recipes[0].finetune.chosen():
            raise UserError(
                f"{run.folder}: its encoder was fine-tuned in {steps[0].folder}, on the user too; allowed: take her "
                "rows out of the data, then gnnrec train, and update or refit that"
            )
        return cls(run=run, steps=steps, recipes=tuple(with_overrides(recipe, settings) for recipe in recipes))

    def check_encoders(self) -> None:
        """Raises UserError for an encoder of its own folder that learnt from a log that holds the user."""
        seen = {step.fingerprint for step in self.steps}
        for recipe in self.recipes:
            for modality in MODALITIES:
                encoder = recipe.encoders.encoder_of(modality)
                learnt = (facts_of(encoder) or {}).get("learnt_from")
                if learnt and learnt["data"] in seen:
                    raise UserError(
                        f"encoders.{modality}: {encoder} has learnt from this user; fit it again on data without her, "
                        f"and say --set encoders.{modality}=FOLDER"
                    )


def retrain(history: History, work: Path, dataset: Dataset, say: Callable[[str], None]) -> None:
    """The run in `work`, on this data. A stopped call goes on with the step at which it was."""
    run, steps, last = history.run, history.steps, len(history.steps) - 1
    aside = steps_beside(work)
    places = [*(aside / str(number) for number in range(last)), work]
    made = next((number for number in range(last, -1, -1) if (places[number] / "run.json").exists()), None)
    if made is not None and not _is_of(places[made], _data_of(dataset, run, steps[made])):
        discard(work, aside)  # of a call with other data
        made = None
    for number in range(made or 0, last + 1):
        step, recipe, place = steps[number], history.recipes[number], places[number]
        if number == made and (step.verb != "update" or (place / MEASURED).exists()):
            continue
        if last:
            say(f"step {number + 1} of {last + 1}: {step.verb}")
        if number == 0:
            data = _data_of(dataset, run, step)
            finetuning.train(data, place, recipe, encrypt=is_encrypted(run.folder), say=say)
            continue
        before = Run.load(places[number - 1])
        if step.verb == "refit":
            refit(before, place, seed=recipe.train.seed, say=say)
        else:
            take_in(
                before, begin(before, place, None, step.verb), run.partitions[: step.partitions], place, recipe, say=say
            )
        discard(places[number - 1])
    if last:
        _name(work, steps)


def steps_beside(work: Path) -> Path:
    return work.with_name(f"{work.name}.steps")


def discard(*works: Path) -> None:
    """Each at one moment, since what is half removed could not be told from what is being trained."""
    for work in works:
        gone = work.with_name(f"{work.name}.gone")
        for one in (gone, work):
            if one.exists():
                shutil.rmtree(one.replace(gone))


def _data_of(dataset: Dataset, run: Run, step: Step) -> Dataset:
    """What a step knew of the data. dataset: all of it, without the user."""
    if step.partitions == len(dataset.partitions):
        return dataset
    pseudonyms = None if dataset.pseudonyms is None else Pseudonyms.required(dataset.pseudonyms)
    return Dataset.load(dataset.root, dataset.feedback, pseudonyms, run.partitions[: step.partitions])


def _is_of(folder: Path, dataset: Dataset) -> bool:
    told = Run.load(folder).provenance["dataset"]
    return (told["path"], told["fingerprint"]) == (str(dataset.root.resolve()), fingerprint(dataset))


def _name(work: Path, steps: Sequence[Step]) -> None:
    """The steps were taken in folders that go: the run names those of the runs that it was made of once."""
    before = steps[-2].folder
    told = parse_json(read_bytes(work / "run.json"), work / "run.json")
    told["earlier"] = [one | {"folder": step.folder} for one, step in zip(told["earlier"], steps)]
    for key in ("started_from", "refit_of"):
        if told[key] is not None:
            told[key] = f"{before} {told[key].rpartition(' ')[2]}"
    if (work / MEASURED).exists():
        write_json(work / MEASURED, parse_json(read_bytes(work / MEASURED), work / MEASURED) | {"from": before})
    write_json(work / "run.json", told)
