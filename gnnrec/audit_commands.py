"""The commands that measure or make privacy: what can be typed after them, what they call and print."""

import argparse
from pathlib import Path

from gnnrec.arguments import Add, folder, length
from gnnrec.commands import remarks, show


def budget_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--epsilon", type=float, help="differential privacy of a whole user: trains dp_filter with it")
    parser.add_argument("--delta", type=float, help="of it (default: 1e-5)")


def add_commands(add: Add) -> None:
    audit = add("audit", audit_run, "how well a run keeps who is in its log, and who may push items", EXAMPLE)
    audit.add_argument("run", type=folder)
    audit.add_argument(
        "--trials", type=length, help="shadow trainings (default: 16), or items that are pushed (default: 3)"
    )
    audit.add_argument("--poison", action="store_true", help="measure instead what 1 %% of false profiles can push")
    audit.add_argument("--data", type=folder, help="the dataset folder, where it has moved")

    randomize = add(
        "randomize",
        randomize_log,
        "write a log as users would report it who trust nobody (local differential privacy)",
        "gnnrec randomize data/movies --to noisy.csv --epsilon 2",
    )
    randomize.add_argument("data", type=folder)
    randomize.add_argument("--to", type=Path, required=True, help="new CSV file of user and item")
    randomize.add_argument("--epsilon", type=float, required=True, help="of a user's report")


EXAMPLE = "gnnrec audit runs/private --trials 32"


def audit_run(options: argparse.Namespace) -> None:
    from gnnrec.audit.membership import audit_membership
    from gnnrec.audit.poison import audit_poisoning
    from gnnrec.run_folder import Run
    from gnnrec.tables import table

    run = Run.load(options.run)
    dataset = run.dataset(options.data)
    if options.poison:
        rows = [found.to_json() for found in audit_poisoning(run, options.trials or 3, dataset)]
        title = f"share of lists of ten that hold a pushed item, {rows[0]['targets']} items, 1 % false users"
        show(options, rows, lambda: table(list(rows[0]), [list(row.values()) for row in rows], title))
        return
    found = audit_membership(run, options.trials or 16, dataset).to_json()
    if found["within"] is False:
        remarks(options)("the attack finds more than epsilon and delta allow: the privacy that the run states is false")
    show(options, found, lambda: table(["measure", "value"], [[name, value] for name, value in found.items()]))


def randomize_log(options: argparse.Namespace) -> None:
    from gnnrec.datasets import Dataset
    from gnnrec.differential.local import randomize_dataset

    facts = randomize_dataset(Dataset.load(options.data), options.to, options.epsilon)
    show(options, facts, lambda: "\n".join(f"{name}: {value}" for name, value in facts.items()))
