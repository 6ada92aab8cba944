"""What is in a dataset folder or in a run: facts for people and for JSON, and pictures on request."""

from pathlib import Path

from gnnrec import plots
from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError
from gnnrec.inspect.augment import Augmentations, content_sheets, graph_sheet, strengths
from gnnrec.inspect.facts import Facts, counts, describe_dataset, describe_run, rating_bars
from gnnrec.inspect.neighbourhood import neighbourhood
from gnnrec.run_folder import Run
from gnnrec.tracking import read_log


def inspect_folder(
    folder: Path, pictures: Path | None = None, user: str | None = None, augment: Augmentations | None = None
) -> tuple[Facts, list[Path]]:
    """Facts of a run (a folder with run.json) or else of a dataset, and the pictures written into `pictures`.

    `user`: the id of a user whose neighbourhood in the graph of the run is drawn too. Raises UserError for a folder
    that is neither, for an unknown user, and for a user of a dataset, which has no graph yet.
    augment: of a dataset, draw contact sheets of what these do to its content and its graph (needs `pictures`).
    """
    if (folder / "run.json").exists() or (folder / "checkpoint.safetensors").exists():
        if augment is not None:
            raise UserError(f"{folder}: --augment needs a dataset; a run has no pictures and sounds of its own")
        run = Run.load(folder)
        return describe_run(run), draw_run(run, pictures, user) if pictures else []
    if user is not None:
        raise UserError(f"{folder}: --user needs a run made by gnnrec train; a dataset has no graph yet")
    dataset = Dataset.load(folder)
    facts = describe_dataset(dataset)
    drawn = draw_log(dataset.interactions, pictures) if pictures else []
    if augment is not None and pictures is not None:
        drawn += save(list(content_sheets(dataset, augment)), pictures)
        plot, rows = graph_sheet(dataset, augment)
        drawn += [] if plot is None else save([plot], pictures)
        facts |= {"augmentations": strengths(dataset, augment), "augmented_graph": rows}
    return facts, drawn


def draw_log(log: Interactions, folder: Path) -> list[Path]:
    made = [plots.long_tail(counts(log.item, log.num_items)), plots.activity(counts(log.user, log.num_users))]
    if log.rating is not None:
        made.append(plots.ratings(rating_bars(log.rating)))
    if log.timestamp is not None and len(log):
        made.append(plots.time_line(log.timestamp))
    return save(made, folder)


def draw_run(run: Run, folder: Path, user: str | None) -> list[Path]:
    network = [] if user is None else [plots.network(neighbourhood(run, user), user)]  # first: the id may be wrong
    metric = run.recipe.train.metric
    return (
        draw_log(run.known, folder)
        + save(plots.training_curves(read_log(run.folder), metric, metric), folder)
        + (save(network, folder))
    )


def save(made: list[plots.Plot], folder: Path) -> list[Path]:
    return [plots.save_png(plot, folder / f"{plot.heading.lower().replace(' ', '_')}.png") for plot in made]
