"""The command `gnnrec`: parses, calls, prints. No logic lives here.

Heavy modules are imported inside the commands, so that `gnnrec --help` answers at once. Exit status: 0 done, 1 stopped
or failed, 2 something the user can mend; errors are one line on stderr.
"""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import gnnrec
from gnnrec.errors import UserError

Command = Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    # torch_geometric still scripts a helper at import; nothing a user of the command could do about it.
    warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated")
    warnings.filterwarnings("ignore", message=".*decompression bomb")  # such a picture is set aside and listed
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        options.command(options)
    except UserError as error:
        return _fail(2, str(error))
    except KeyboardInterrupt as stopped:
        return _fail(1, str(stopped) or "stopped")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away: head, less
        return 1
    except OSError as error:
        if error.filename is None:
            return _fail(1, f"{type(error).__name__}: {error}")
        return _fail(2, f"{error.filename}: {error.strerror}")
    except Exception as error:
        if os.environ.get("GNNREC_DEBUG"):
            raise
        return _fail(1, f"{type(error).__name__}: {error} (GNNREC_DEBUG=1 shows where)")
    return 0


def _fail(status: int, message: str) -> int:
    print(f"gnnrec: {' '.join(message.split())}", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="gnnrec", description="Multimodal recommendations from an interaction log and item content.")
    parser.add_argument("--version", action="version", version=f"gnnrec {gnnrec.__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, command: Command, text: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example: {example}",
        )
        made.set_defaults(command=command)
        return made

    demo = add("demo", _demo, "the main job on the shipped movies data, with a report at the end", "gnnrec demo")
    demo.add_argument("--data", type=Path, help="a dataset folder (default: the movies data of the checkout)")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the runs (default: runs/demo)")
    demo.add_argument("--set", **_SETTING)

    train = add(
        "train",
        _train,
        "train a model on a dataset folder and keep it as a run",
        "gnnrec train data/movies --out runs/movies --set train.epochs=20",
    )
    train.add_argument("data", type=Path, help="dataset folder")
    train.add_argument("--out", type=Path, required=True, help="new run folder; an interrupted one is resumed")
    train.add_argument("--recipe", help="a shipped recipe or a .toml file (default: default)")
    train.add_argument("--set", **_SETTING)
    train.add_argument("--json", action="store_true", help="print one JSON document")

    tune = add(
        "tune-settings",
        _tune_settings,
        "search the settings that are best on validation; the same command goes on after a stop",
        "gnnrec tune-settings data/movies --out study --search train.temperature=0.1..0.5:log model.layers=1,2,3",
    )
    tune.add_argument("data", type=Path, help="dataset folder")
    tune.add_argument("--out", type=Path, required=True, help="folder of the study; best.toml in it is the best recipe")
    tune.add_argument("--recipe", help="a shipped recipe or a .toml file to start from (default: default)")
    tune.add_argument("--set", **_SETTING)
    tune.add_argument("--search", **_SETTING | {"help": "LOW..HIGH, LOW..HIGH:log or a,b,c (default: by the model)"})
    tune.add_argument("--trials", type=int, default=30, help="of the whole study (default: 30)")
    tune.add_argument("--minutes", type=float, help="of the whole study (default: no limit)")
    tune.add_argument("--seeds", type=int, default=1, help="trainings a trial is the mean of (default: 1)")
    tune.add_argument("--json", action="store_true", help="print one JSON document")

    evaluate = add(
        "evaluate",
        _evaluate,
        "measure a run by ranking the full catalogue for every user",
        "gnnrec evaluate runs/movies --against runs/ease",
    )
    evaluate.add_argument("run", type=Path)
    evaluate.add_argument("--split", default="test", help="val or test (default: test)")
    evaluate.add_argument("--mask", help="train+val or train: which interactions count as known")
    evaluate.add_argument("--against", type=Path, help="another run, compared by paired tests over the same users")
    evaluate.add_argument("--data", type=Path, help="the dataset folder, where it has moved")
    evaluate.add_argument("--json", action="store_true", help="print one JSON document")

    export = add(
        "export",
        _export,
        "write user and item embeddings with their ids",
        "gnnrec export runs/movies --to exported --format parquet,faiss",
    )
    export.add_argument("run", type=Path)
    export.add_argument("--to", type=Path, required=True, help="folder")
    export.add_argument("--format", default="parquet,npy,safetensors,faiss", help="comma-separated (default: all four)")

    recommend = add(
        "recommend",
        _recommend,
        "recommend items for a user, like an item, or for any text, picture and sound",
        'gnnrec recommend runs/movies --text "a heist in space" --image cover.jpg',
    )
    recommend.add_argument("run", type=Path)
    recommend.add_argument("--user", help="id of a known user")
    recommend.add_argument("--item", help="id of a known item: what is like it")
    recommend.add_argument("--text", help="free text, in any language the text encoder knows")
    recommend.add_argument("--image", type=Path, help="picture file")
    recommend.add_argument("--audio", type=Path, help="sound file")
    recommend.add_argument("--to-users", action="store_true", help="whom to recommend a new item of this content to")
    recommend.add_argument("-k", type=int, default=10, help="length of the list (default: 10)")
    recommend.add_argument("--json", action="store_true", help="print one JSON document")

    encode = add(
        "encode", _encode, "make the content features of a dataset, cached for later", "gnnrec encode data/movies"
    )
    encode.add_argument("data", type=Path)
    encode.add_argument("--recipe", help="a shipped recipe or a .toml file (default: default)")
    encode.add_argument("--set", **_SETTING)
    encode.add_argument("--json", action="store_true", help="print one JSON document")

    inspect = add("inspect", _inspect, "show what is in a dataset or a run", "gnnrec inspect data/movies --plots plots")
    inspect.add_argument("folder", type=Path, help="dataset or run folder")
    inspect.add_argument("--plots", type=Path, help="folder to write plots to")
    inspect.add_argument("--user", help="of a run: draw this user's neighbourhood in the graph (needs --plots)")
    inspect.add_argument("--json", action="store_true", help="print one JSON document")

    report = add("report", _report, "write one self-contained HTML file about a run", "gnnrec report runs/movies")
    report.add_argument("run", type=Path)
    report.add_argument("--out", type=Path, help="the file (default: report.html in the run folder)")
    report.add_argument("--against", type=Path, nargs="*", default=[], help="other runs to stand beside it")

    models = add("models", _models, "list the pretrained models, or bring one", "gnnrec models get use")
    models.add_argument("action", nargs="?", choices=["get"])
    models.add_argument("name", nargs="*", help="names of models to get")
    models.add_argument("--json", action="store_true", help="print one JSON document")

    doctor = add("doctor", _doctor, "what is installed, what is missing, how to get it", "gnnrec doctor")
    doctor.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


_SETTING: dict[str, Any] = {
    "action": "extend",
    "nargs": "+",
    "default": [],
    "metavar": "SECTION.KEY=VALUE",
    "help": "settings laid over the recipe",
}


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _say(options: argparse.Namespace) -> Callable[[str], None]:
    """Remarks go to stderr, and nowhere with --json."""
    if getattr(options, "json", False):
        return lambda line: None
    return lambda line: print(line, file=sys.stderr)


def _demo(options: argparse.Namespace) -> None:
    from gnnrec.demo import run_demo
    from gnnrec.training import Interrupted

    try:
        run_demo(options.data, options.out, options.set, say=lambda line: print(line, flush=True))
    except Interrupted as interrupted:
        raise KeyboardInterrupt(str(interrupted)) from interrupted


def _train(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset
    from gnnrec.pipeline import train
    from gnnrec.recipe import load_recipe
    from gnnrec.tables import metrics_table
    from gnnrec.training import Interrupted

    recipe, say = load_recipe(options.recipe, options.set), _say(options)
    dataset = Dataset.load(options.data)
    say(f"{dataset.name}: {len(dataset.user_ids):,} users, {len(dataset.item_ids):,} items, "
        f"{len(dataset.interactions):,} interactions, {len(dataset.rejected):,} "
        "rows or files set aside (see gnnrec inspect)")  # fmt: skip
    try:
        run = train(dataset, options.out, recipe, say=say)
    except Interrupted as interrupted:
        raise KeyboardInterrupt(str(interrupted)) from interrupted
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    if options.json:
        _print_json({"run": str(run.folder)} | metrics)
    else:
        if metrics:
            print(metrics_table({recipe.model_name: metrics}, title=f"validation, {metrics['users']:,} users"))
        print(f"run: {run.folder}")


def _tune_settings(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset
    from gnnrec.recipe import load_recipe
    from gnnrec.tables import trials_table
    from gnnrec.training import Interrupted
    from gnnrec.tuning import tune_settings

    recipe = load_recipe(options.recipe, options.set)
    budget = {name: getattr(options, name) for name in ("search", "trials", "minutes", "seeds")}
    try:
        study = tune_settings(Dataset.load(options.data), options.out, recipe, **budget, say=_say(options)).to_json()
    except Interrupted as interrupted:
        raise KeyboardInterrupt(str(interrupted)) from interrupted
    _print_json(study) if options.json else print(trials_table(study), f"recipe: {study['recipe']}", sep="\n\n")


def _evaluate(options: argparse.Namespace) -> None:
    from gnnrec.comparison import evaluate_against
    from gnnrec.datasets import Dataset
    from gnnrec.tables import cohorts_table, comparison_table, metrics_table

    dataset = None if options.data is None else Dataset.load(options.data)
    runs = [options.run] if options.against is None else [options.run, options.against]
    documents, comparison = evaluate_against(runs, options.split, options.mask, dataset)
    if options.json:
        _print_json(documents[0] | ({"against": documents[1], "comparison": comparison} if comparison else {}))
        return
    names = [str(run) for run in runs]
    title = f"{options.split}, {documents[0]['users']:,} users, known: {documents[0]['mask']}"
    print(metrics_table(dict(zip(names, documents)), title=title))
    print()
    print(comparison_table(comparison, *names) if comparison else cohorts_table(documents[0]["cohorts"]))


def _export(options: argparse.Namespace) -> None:
    from gnnrec.export import export_embeddings
    from gnnrec.run_folder import Run

    run = Run.load(options.run)
    user, item = run.embeddings.user.numpy(), run.embeddings.item.numpy()
    formats = tuple(name.strip() for name in options.format.split(","))
    for path in export_embeddings(user, item, run.user_ids, run.item_ids, options.to, formats):
        print(path)


def _recommend(options: argparse.Namespace) -> None:
    from gnnrec.recommend import Recommender
    from gnnrec.tables import recommendations_table

    query = {"text": options.text, "image": options.image, "audio": options.audio}
    asked = [options.user is not None, options.item is not None, any(value is not None for value in query.values())]
    if sum(asked) != 1:
        raise UserError("recommend: expected one of --user, --item, or a query of --text, --image, --audio")
    if options.to_users and not asked[2]:
        raise UserError("recommend --to-users: needs a new item by --text, --image or --audio")
    recommender = Recommender.load(options.run)
    if options.user is not None:
        title, found = f"for user {options.user}", recommender.recommend(options.user, options.k)
    elif options.item is not None:
        title, found = f"like item {options.item}", recommender.similar_items(options.item, options.k)
    elif options.to_users:
        title, found = "users for this new item", recommender.users_for_query(**query, k=options.k)
    else:
        title, found = "for this query", recommender.recommend_query(**query, k=options.k)
    if options.json:
        _print_json([recommendation.to_json() for recommendation in found])
    else:
        print(recommendations_table(found, title))


def _encode(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset
    from gnnrec.encoders import encode_dataset, unusable_content
    from gnnrec.recipe import load_recipe
    from gnnrec.tables import features_table, rejected_table

    recipe = load_recipe(options.recipe, options.set)
    dataset = Dataset.load(options.data)
    items, users = encode_dataset(dataset, recipe.encoders)
    rows = [
        {
            "owner": owner,
            "modality": modality,
            "encoder": features.encoder,
            "dimensions": features.values.shape[1],
            "rows": len(features.mask),
            "encoded": int(features.mask.sum()),
            "unusable": len(features.rejected),
        }
        for owner, content in (("items", items), ("users", users))
        for modality, features in content.items()
    ]
    rejected = unusable_content(dataset, items, users).to_dicts()
    if options.json:
        _print_json({"features": rows, "rejected": rejected})
        return
    print(features_table(rows))
    if rejected:
        print()
        print(rejected_table(rejected))


def _inspect(options: argparse.Namespace) -> None:
    from gnnrec.inspect import inspect_folder
    from gnnrec.tables import facts_tables

    if options.user is not None and options.plots is None:
        raise UserError("inspect --user: needs --plots FOLDER for the picture")
    facts, pictures = inspect_folder(options.folder, options.plots, options.user)
    if options.json:
        _print_json(facts | {"pictures": [str(path) for path in pictures]})
        return
    print(facts_tables(facts))
    for path in pictures:
        print(path)


def _report(options: argparse.Namespace) -> None:
    from gnnrec.report import write_report

    print(write_report(options.run, options.out, options.against))


def _models(options: argparse.Namespace) -> None:
    from gnnrec.encoders.pretrained import PRETRAINED, get, locate
    from gnnrec.tables import models_table

    if options.action == "get":
        if not options.name:
            raise UserError(f"models get: expected a name; allowed: {', '.join(PRETRAINED)}")
        for name in options.name:
            print(f"{name}: {get(name)}")
        return
    rows = [
        {
            "name": name,
            "task": model.task,
            "what": model.what,
            "megabytes": model.size_mb,
            "dim": model.dim,
            "licence": model.licence,
            "source": model.source,
            "here": locate(name) is not None,
        }
        for name, model in PRETRAINED.items()
    ]
    if options.json:
        _print_json(rows)
    else:
        print(models_table(rows))


def _doctor(options: argparse.Namespace) -> None:
    from gnnrec.doctor import diagnose
    from gnnrec.tables import doctor_table

    rows = diagnose()
    if options.json:
        _print_json(rows)
    else:
        print(doctor_table(rows))


if __name__ == "__main__":
    sys.exit(main())
