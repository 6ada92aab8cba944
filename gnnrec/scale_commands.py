"""The commands about much and growing data (update, refit, encode, plan): what can be typed, called and printed."""

import argparse
from pathlib import Path

from gnnrec import content_commands
from gnnrec.arguments import SETTING, Add, folder, length, recipe
from gnnrec.commands import check_runs, remarks, show

GIGABYTE = 1e9


def add_commands(add: Add) -> None:
    parser = add(
        "update",
        update,
        "take new interactions, items and users into a run: a new run by warm start, and what drifted",
        "gnnrec update runs/movies --with partitions --out runs/tonight",
    )
    parser.add_argument("run", type=folder)
    parser.add_argument(
        "--with",
        dest="partitions",
        type=folder,
        required=True,
        metavar="FOLDER",
        help="interactions*.parquet, items*.parquet, users*.parquet with the dataset's own columns; what the run "
        "has is left out",
    )
    parser.add_argument("--out", type=Path, required=True, help="new run folder; an interrupted one is resumed")
    parser.add_argument("--data", type=folder, help="the dataset folder, where it has moved")
    parser.add_argument("--set", **SETTING | {"help": "settings laid over the run's (default: train.epochs=10)"})
    again = add(
        "refit",
        refit,
        "train a run once more, on its validation rows too, with what was chosen by them",
        "gnnrec refit runs/movies --out runs/movies_all",
    )
    again.add_argument("run", type=folder)
    again.add_argument("--out", type=Path, required=True, help="new run folder; an interrupted one is resumed")
    again.add_argument("--data", type=folder, help="the dataset folder, where it has moved")
    again.add_argument("--seed", type=int, help="random seed of the new training (default: the run's)")
    encode = add(
        "encode",
        content_commands.encode,
        "make the content features of a dataset, cached for later",
        "gnnrec encode data/movies",
    )
    encode.add_argument("data", type=folder)
    encode.add_argument("--recipe", type=recipe, help="a shipped recipe or a .toml file (default: default)")
    encode.add_argument("--set", **SETTING)
    content_commands.engine_arguments(encode)
    _plan_arguments(add)


def _plan_arguments(add: Add) -> None:
    parser = add(
        "plan",
        plan,
        "say what training LightGCN at some size would take: memory, hours, traffic, machines; rates are measured here",
        "gnnrec plan --users 1e8 --items 1e7 --interactions 1e10 --dim 128",
    )
    for name in ("users", "items", "interactions"):
        parser.add_argument(f"--{name}", type=number, required=True, help="how many; 1e8 is understood")
    parser.add_argument("--dim", type=length, default=64, help="dimensions of an embedding (default: 64)")
    parser.add_argument("--layers", type=length, default=3, help="depth of the propagation (default: 3)")
    parser.add_argument("--epochs", type=length, default=100, help="of the training (default: 100)")
    parser.add_argument("--features", type=number, default=0, help="numbers of content per item (default: 0)")
    parser.add_argument("--memory", type=float, help="gigabytes of a machine (default: this one's)")
    parser.add_argument("--network", type=float, default=10.0, help="gigabits a second between machines (default: 10)")
    parser.add_argument("--machines", type=length, help="how many (default: as few as hold it)")
    parser.add_argument(
        "--data", type=folder, help="a dataset folder: also measure how fast its content is encoded, on 32 of each kind"
    )


def number(typed: str) -> int:
    """A count as people write large ones."""
    try:
        value = float(typed)
    except ValueError:
        value = -1.0
    if value < 0 or value != int(value):
        raise argparse.ArgumentTypeError(f"found {typed!r}; allowed: a whole number, such as 2000000 or 2e6")
    return int(value)


def update(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.run_folder import Run
    from gnnrec.scale_tables import update_tables
    from gnnrec.update import update as update_run

    say = remarks(options)
    made = update_run(Run.load(options.run), options.partitions, options.out, options.set, data=options.data, say=say)
    document = {"run": str(made.run.folder)} | made.document
    show(options, document, lambda: f"{update_tables(document)}\nrun: {made.run.folder}")


def refit(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.refit import refit as refit_run
    from gnnrec.run_folder import Run

    run = refit_run(Run.load(options.run), options.out, data=options.data, seed=options.seed, say=remarks(options))
    document = {"run": str(run.folder), "of": run.provenance["refit_of"], "rows": len(run.train)}
    show(options, document, lambda: f"run: {run.folder}")


def plan(options: argparse.Namespace) -> None:
    import os

    from gnnrec.plan import Workload, calibrate
    from gnnrec.plan import plan as plan_training
    from gnnrec.scale_tables import plan_tables

    sizes = {name: getattr(options, name) for name in ("users", "items", "interactions", "dim", "layers", "epochs")}
    work = Workload(**sizes, features=options.features)
    here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = here if options.memory is None else options.memory * GIGABYTE
    remarks(options)("measuring this machine; a minute")
    document = plan_training(
        work, calibrate(work.dim), machine_bytes=machine, gigabits=options.network, machines=options.machines
    )
    if options.data is not None:
        from gnnrec.datasets import Dataset
        from gnnrec.encoders import EncodersConfig
        from gnnrec.encoders.rate import encoding_rates

        rates = encoding_rates(Dataset.load(options.data), EncodersConfig())
        document["encoding"] = [one | {"hours": work.items / one["items_per_second"] / 3600} for one in rates]
    show(options, document, lambda: plan_tables(document))
