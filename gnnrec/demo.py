"""The main job from end to end: data, encoders, baselines and our model, the table, a user's list, the report."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gnnrec.comparison import differences, measure
from gnnrec.datasets import Dataset
from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.pretrained import get, locate
from gnnrec.errors import UserError, count
from gnnrec.evaluation import Evaluation
from gnnrec.fingerprints import catalog_fingerprint, fingerprint
from gnnrec.pipeline import train
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.recommend import Recommender
from gnnrec.report import write_report
from gnnrec.run_folder import Run
from gnnrec.tables import comparison_table, metrics_table, recommendations_table

OURS = "default"
RECIPES = ("popularity", "item_knn", "ease", "lightgcn", OURS)
DATA = Path("data") / "movies"
DECIDES = "ndcg@10"  # which baseline is the best one

Say = Callable[[str], None]


def run_demo(data: Path | None, out: Path, overrides: Sequence[str], say: Say) -> None:
    """Train RECIPES into `out`/NAME, measure them on test, and say the table, one user's list and the report's path.

    `overrides` are settings of our model only. Runs that are finished already are used as they are, interrupted ones
    resumed. Encoders that are not here are downloaded. Raises UserError where `out` holds runs with other settings
    or on other data, and training.Interrupted after Ctrl-C.
    """
    recipes = {name: load_recipe(name, overrides if name == OURS else ()) for name in RECIPES}
    dataset = Dataset.load(data or find_data())
    say(dataset.summary())
    bring_encoders(dataset, [recipe.encoders for recipe in recipes.values()], say)
    runs = [finished_run(dataset, out / name, recipe, say) for name, recipe in recipes.items()]
    evaluations = measure(runs, "test", dataset=dataset)
    say("\n" + standing(dict(zip(RECIPES, evaluations))))
    say("\n" + one_user(runs[-1], evaluations[-1]))
    baselines = [run.folder for run in runs[:-1]]
    say(f"\nreport: {write_report(runs[-1].folder, None, baselines)}")


def find_data() -> Path:
    """The movies data of the checkout: beside the package, or below the current folder."""
    places = [Path(__file__).parents[1] / DATA, Path.cwd() / DATA]
    for place in places:
        if place.is_dir():
            return place
    raise UserError(f"demo: no {DATA} in {' or '.join(str(place.parents[1]) for place in places)}; name it by --data")


def bring_encoders(dataset: Dataset, configs: Sequence[EncodersConfig], say: Say) -> None:
    """Download the pretrained models that the content of the dataset needs and that are not here."""
    wanted = {
        (modality, config.encoder_of(modality))
        for catalog, given in ((dataset.items, dataset.item_features), (dataset.users, dataset.user_features))
        for modality in (catalog.modalities() if catalog else ())
        if modality not in given
        for config in configs
    }
    for modality, name in sorted((modality, name) for modality, name in wanted if name):
        a_file = name.startswith("torchvision:") and name.count(":") == 2  # weights that the user brought
        if not Path(name).is_dir() and not a_file and locate(name) is None:
            say(f"getting the {modality} model {name} …")
            get(name)


def finished_run(dataset: Dataset, folder: Path, recipe: Recipe, say: Say) -> Run:
    """The run of this recipe on this data in `folder`, trained now unless it is there."""
    if (folder / "run.json").exists():
        run = Run.load(folder)
        made_of = {"fingerprint": fingerprint(dataset), "catalog": catalog_fingerprint(dataset)}
        if run.recipe != recipe.resolved(dataset) or not made_of.items() <= run.provenance["dataset"].items():
            raise UserError(
                f"{folder}: holds a run with other settings or on other data; remove it or choose another --out"
            )
        say(f"{folder.name}: finished before, in {run.provenance['total_seconds']:.0f} s")
        return run
    say(f"{folder.name}: {'resuming' if (folder / 'checkpoint.safetensors').exists() else 'training'} …")
    run = train(dataset, folder, recipe)
    epochs = (
        f", epoch {run.provenance['best_epoch']} of {run.provenance['epochs']} kept" if run.provenance["epochs"] else ""
    )
    say(f"{folder.name}: {run.provenance['total_seconds']:.0f} s{epochs}")
    return run


def standing(evaluations: dict[str, Evaluation]) -> str:
    """All models side by side, and ours tested against the best baseline."""
    documents = {name: evaluation.to_json("test") for name, evaluation in evaluations.items()}
    ours = evaluations[OURS]
    best = max((name for name in RECIPES if name != OURS), key=lambda name: evaluations[name].metrics[DECIDES])
    title = f"test, {count(ours.num_users, 'user')}, full catalogue; {OURS} is our model, * the best"
    tested = comparison_table(differences(ours, [evaluations[best]])[0], OURS, best)
    return f"{metrics_table(documents, title)}\n\n{tested}"


def one_user(run: Run, evaluation: Evaluation) -> str:
    """What the user of median activity had last, and the ten items recommended to her."""
    activity = np.bincount(run.known.user, minlength=len(run.user_ids))[evaluation.users]
    user = run.user_ids[evaluation.users[np.argsort(activity, kind="stable")[len(activity) // 2]]]
    recommender = Recommender(run)
    history = ", ".join(had.title or had.id for had in recommender.history(user, 5))
    return f"user {user} had last: {history}\n\n" + recommendations_table(
        recommender.recommend(user, 10), f"for user {user}"
    )
