"""A run that was trained, updated and refitted; what came later names the one who will be forgotten, too."""

from pathlib import Path

import polars as pl
from crowd import HER, SETTINGS, write_people
from PIL import Image

from gnnrec.datasets import Dataset, Feedback
from gnnrec.finetuning import train
from gnnrec.recipe import load_recipe
from gnnrec.refit import refit
from gnnrec.run_folder import Run
from gnnrec.update import update

LATE = "late-comer-9k"  # came with the first partition
PLAIN = ("model.factors=false", "model.paths=false", "model.spectrum=false")
EVENT = '{"user": "%s", "item": "i1", "timestamp": 2000000}\n'
EVENTS = (HER, "u7", "new-by-feedback", HER, "u3", "u4")


def write_partition(folder: Path, people: Path, number: int, without: str | None) -> None:
    """Rows of the log, hers too, of an item that only she has; with the first one, somebody new with a picture."""
    folder.mkdir(exist_ok=True)
    rows = [(f"u{step + number}", f"i{(3 * step + number) % 20}", str(2_000_000 * number + step)) for step in range(12)]
    rows += [(HER, f"hers-{number}", str(2_000_100 * number)), (LATE, f"i{number}", str(2_000_200 * number))]
    rows += [(LATE, f"i{number + step}", str(2_000_300 * number + step)) for step in range(4)]
    kept = [row for row in rows if row[0] != without]
    pl.DataFrame(kept, schema=["user", "item", "time"], orient="row").write_parquet(
        folder / f"interactions-{number}.parquet"
    )
    if number == 1:
        users = [("somebody", "20", "Rome", "pics/2.png"), (LATE, "21", "Oslo", "pics/late.png")]
        kept = [row for row in users if row[0] != without]
        pl.DataFrame(kept, schema=["user", "age", "city", "avatar"], orient="row").write_parquet(
            folder / "users-1.parquet"
        )
        if without != LATE:
            Image.new("RGB", (8, 8), (0, 99, 0)).save(people / "pics" / "late.png")


def make(root: Path, verbs: str, without: str | None = None, encrypt: bool = False) -> Run:
    """ROOT/people, ROOT/parts, and runs by the letters of `verbs`, t for train, u for update, r for refit: ROOT/0, 1 …

    T is a training of the model with all that is fitted after the gradients.

    The last is ROOT/run. without: the rows of this one are never written.
    """
    people = write_people(root / "people", without=without)
    log = root / "feedback.jsonl"
    log.write_text("".join(EVENT % user for user in EVENTS if user != without))
    feedback = Feedback(path=log, num_events=sum(user != without for user in EVENTS[:5]))
    run, partition = None, 0
    for number, verb in enumerate(verbs):
        out = root / ("run" if number == len(verbs) - 1 else str(number))
        if run is None:
            recipe = load_recipe(None, SETTINGS if verb == "T" else [*SETTINGS, *PLAIN])
            run = train(Dataset.load(people, feedback), out, recipe, encrypt=encrypt)
        elif verb == "u":
            partition += 1
            write_partition(root / "parts", people, partition, without)
            run = update(Run.load(run.folder), root / "parts", out, ["train.epochs=3"]).run
        else:
            run = refit(Run.load(run.folder), out, seed=3)  # not the run's own: the steps have to keep it
    assert run is not None
    return Run.load(run.folder)
