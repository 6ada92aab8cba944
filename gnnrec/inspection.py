"""What is in a dataset folder or in a run: facts for people and for JSON, and pictures on request."""

from pathlib import Path

from gnnrec import pictures
from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError
from gnnrec.facts import Facts, counts, describe_dataset, describe_run, rating_bars
from gnnrec.neighbourhood import neighbourhood
from gnnrec.run_folder import Run
from gnnrec.tracking import read_log


def inspect_folder(folder: Path, plots: Path | None = None, user: str | None = None) -> tuple[Facts, list[Path]]:
    """Facts of a run (a folder with run.json) or else of a dataset, and the pictures written into `plots`.

    `user`: the id of a user whose neighbourhood in the graph of the run is drawn too. Raises UserError for a folder
    that is neither, for an unknown user, and for a user of a dataset, which has no graph yet.
    """
    if (folder / "run.json").exists() or (folder / "checkpoint.safetensors").exists():
        run = Run.load(folder)
        return describe_run(run), draw_run(run, plots, user) if plots else []
    if user is not None:
        raise UserError(f"{folder}: --user needs a run made by gnnrec train; a dataset has no graph yet")
    dataset = Dataset.load(folder)
    return describe_dataset(dataset), draw_log(dataset.interactions, plots) if plots else []


def draw_log(log: Interactions, folder: Path) -> list[Path]:
    made = [
        pictures.long_tail(counts(log.item, log.num_items), folder / "long_tail.png"),
        pictures.activity(counts(log.user, log.num_users), folder / "activity.png"),
    ]
    if log.rating is not None:
        made.append(pictures.ratings(rating_bars(log.rating), folder / "ratings.png"))
    if log.timestamp is not None and len(log):
        made.append(pictures.time_line(log.timestamp, folder / "time.png"))
    return made


def draw_run(run: Run, folder: Path, user: str | None) -> list[Path]:
    network = None if user is None else neighbourhood(run, user)  # first, since the id may be wrong
    made = draw_log(run.known, folder)
    log = read_log(run.folder)
    if log:
        made.append(
            pictures.training(log, run.recipe.train.metric, run.provenance["best_epoch"], folder / "training.png")
        )
    if network is not None:
        made.append(
            pictures.network(network, f"user {user} in the graph of {run.folder.name}", folder / "neighbourhood.png")
        )
    return made
