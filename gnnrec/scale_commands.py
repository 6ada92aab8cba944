"""The commands about growing data: update. What can be typed after them, what they call and print."""

import argparse
from collections.abc import Callable
from pathlib import Path

from gnnrec.arguments import folder
from gnnrec.commands import check_runs, remarks, show

Add = Callable[[str, Callable[[argparse.Namespace], None], str, str], argparse.ArgumentParser]


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
        help="interactions*.parquet, items*.parquet, users*.parquet with the dataset's own columns; what the run has is "
        "left out",
    )
    parser.add_argument("--out", type=Path, required=True, help="new run folder; an interrupted one is resumed")
    parser.add_argument("--data", type=folder, help="the dataset folder, where it has moved")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="settings laid over the run's (default: train.epochs=10)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def update(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.run_folder import Run
    from gnnrec.scale_tables import update_tables
    from gnnrec.update import update as update_run

    say = remarks(options)
    made = update_run(Run.load(options.run), options.partitions, options.out, options.set, data=options.data, say=say)
    document = {"run": str(made.run.folder)} | made.document
    show(options, document, lambda: f"{update_tables(document)}\nrun: {made.run.folder}")
