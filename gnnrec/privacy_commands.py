"""The commands around privacy: what can be typed, what they call and print."""

import argparse
from dataclasses import asdict
from pathlib import Path

from gnnrec import audit_commands
from gnnrec.arguments import SETTING, Add, columns, file, folder, length
from gnnrec.commands import check_runs, print_json, remarks, show
from gnnrec.errors import UserError, count


def train_arguments(parser: argparse.ArgumentParser) -> None:
    """What gnnrec train takes of privacy."""
    audit_commands.budget_arguments(parser)
    parser.add_argument(
        "--encrypt", action="store_true", help="nothing plain on the disk; the key: GNNREC_KEY_FILE=FILE"
    )


def add_commands(add: Add) -> None:
    gone = add(
        "forget",
        forget,
        "take a user out of a run, its data, feedback, caches and exports, by training it anew without her",
        "gnnrec forget runs/movies --user 1 --data data/movies2 --also exported",
    )
    gone.add_argument("run", type=folder)
    gone.add_argument("--user", required=True, help="id of the user")
    gone.add_argument(
        "--data", type=Path, metavar="NEW", help="write a copy of the dataset without her, and train on it"
    )
    gone.add_argument(
        "--erase",
        action="store_true",
        help="take her out of the dataset's own files, and of updates' partitions, instead",
    )
    gone.add_argument(
        "--also", type=folder, nargs="+", default=[], help="exports, written anew; other folders to search"
    )
    gone.add_argument(
        "--feedback", type=file, metavar="FILE", help="a log of gnnrec serve, where it is not beside the run"
    )
    gone.add_argument("--later", action="store_true", help="only refuse her from now on, and mark the run as due")
    gone.add_argument("--set", **SETTING | {"help": "settings laid over the run's own"})

    checked = add(
        "audit-export",
        audit_export,
        "count the users of an export or a run whose columns fewer than k users share",
        "gnnrec audit-export exported --k 5 --columns age,city",
    )
    checked.add_argument("folder", type=folder, help="export or run folder")
    checked.add_argument("--k", type=length, default=5, help="users who have to share their values (default: 5)")
    checked.add_argument("--columns", type=columns, default=(), help="of the users' table (default: all but the id)")
    checked.add_argument("--run", type=folder, help="the run of the export, where it has moved")

    written = add(
        "policy",
        policy,
        "write what a run keeps of people, why, how long, who sees it and how to object; and a data card",
        'gnnrec policy runs/movies --set policy.controller="A Shop" policy.contact=privacy@shop.example',
    )
    written.add_argument("run", type=folder)
    written.add_argument("--out", type=Path, help="folder (default: the run's)")
    written.add_argument("--lang", type=columns, default=("en", "zh"), help="en, zh (default: both)")
    written.add_argument(
        "--set", **SETTING | {"help": "policy.key=value; serve.key=value, llm.key=value: as a service is started"}
    )

    make = add(
        "make-key", make_key, "make a key file for --encrypt, new and for its owner alone", "gnnrec make-key my.key"
    )
    make.add_argument("file", type=Path, help="new file")

    new = add(
        "rekey",
        rekey,
        "give an encrypted run, export or feedback log another key; the old one is in the environment",
        "gnnrec rekey runs/movies --new-key new.key",
    )
    new.add_argument("path", type=Path, help="folder or feedback log")
    new.add_argument("--new-key", type=file, metavar="FILE", help="made by gnnrec make-key")
    new.add_argument(
        "--deep", action="store_true", help="encrypt the data anew, too; the same command goes on after a stop"
    )


def policy(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.llm.settings import LLMConfig
    from gnnrec.privacy.facts import gather
    from gnnrec.privacy.policy import PolicyConfig, ServiceConfig, write_policy
    from gnnrec.recipe import load_settings
    from gnnrec.run_folder import Run

    kinds = {"policy": PolicyConfig, "serve": ServiceConfig, "llm": LLMConfig}
    told, service, llm = load_settings(kinds, options.set)
    facts = gather(Run.load(options.run), llm)
    paths = write_policy(facts, told, service, options.out or options.run, options.lang)
    document = {"written": [str(path) for path in paths], "facts": asdict(facts)}
    show(options, document, lambda: "\n".join(map(str, paths)))


def forget(options: argparse.Namespace) -> None:
    check_runs(options.run)
    from gnnrec.privacy.forget import ForgetConfig, forget, forget_later

    if options.later:
        if options.data or options.erase or options.also or options.feedback or options.set:
            raise UserError("forget --later: goes with --user alone")
        forget_later(options.run, options.user)
        show(options, {"run": str(options.run), "due": True}, lambda: f"{options.run}: the user is refused from now on")
        return
    config = ForgetConfig(
        data=options.data,
        erase=options.erase,
        also=tuple(options.also),
        feedback=options.feedback,
        settings=tuple(options.set),
    )
    certificate = forget(options.run, options.user, config, remarks(options))
    if options.json:
        print_json(certificate.to_json())
    else:
        print(certificate.text(), end="")
    if certificate.found:
        raise UserError(f"forget: the id is still in {certificate.found[0]} (the certificate has all)")


def audit_export(options: argparse.Namespace) -> None:
    from gnnrec.privacy.anonymity import audit_folder
    from gnnrec.run_folder import Run

    run = None if options.run is None else Run.load(options.run)
    found = audit_folder(options.folder, run, options.columns, options.k)
    show(options, found.to_json(), lambda: "\n".join(found.lines()))


def make_key(options: argparse.Namespace) -> None:
    from gnnrec.cipher import new_key_file

    new_key_file(options.file)
    print(f"{options.file}: GNNREC_KEY_FILE={options.file} has it used; without it nothing can be decrypted")


def rekey(options: argparse.Namespace) -> None:
    from gnnrec.cipher import user_key
    from gnnrec.rekey import rekey as change

    if not options.path.exists():
        raise UserError(f"{options.path}: no such file or folder")
    key = None if options.new_key is None else user_key(options.new_key)
    written = change(options.path, key, deep=options.deep)
    document = {"path": str(options.path), "key": (key or user_key()).id.hex(), "files_encrypted_anew": written}
    done = f"{count(written, 'file')} encrypted anew" if options.deep else "data keys sealed anew"
    show(options, document, lambda: f"{options.path}: {done}; needs the key {document['key']} from now on")
