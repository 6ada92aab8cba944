"""The commands around privacy, as `commands.py` has the others."""

import argparse
from collections.abc import Callable
from pathlib import Path

from gnnrec.arguments import file
from gnnrec.commands import show
from gnnrec.errors import UserError, count


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
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
    new.add_argument("--json", action="store_true", help="print one JSON document")


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
