"""The types of arguments: what can be seen at once is wrong before anything heavy is loaded."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.parallel.settings import ENGINES
from gnnrec.recipes import read_recipe

Command = Callable[[argparse.Namespace], None]
Add = Callable[[str, Command, str, str], argparse.ArgumentParser]
"""name, command, text, example -> the parser of a new command, as cli.py makes it."""

SETTING: dict[str, Any] = {  # of --set
    "action": "extend",
    "nargs": "+",
    "default": [],
    "metavar": "SECTION.KEY=VALUE",
    "help": "settings laid over the recipe",
}

ENCODER_KINDS = ("lsa", "recurrent", "compact", "distilled", "word_vectors", "finetuned")
FORMATS = ("parquet", "npy", "safetensors", "faiss")  # without a word
MORE_FORMATS = ("faiss-pq",)
TARGETS = ("lancedb", "qdrant", "postgresql", "postgres")  # what an address that is no folder begins with


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    def check(typed: str) -> str:
        if typed not in allowed:
            raise argparse.ArgumentTypeError(f"found {typed!r}; allowed: {', '.join(allowed)}")
        return typed

    return check


def formats(typed: str) -> tuple[str, ...]:
    return tuple(one_of((*FORMATS, *MORE_FORMATS))(name.strip()) for name in typed.split(","))


def parallel_arguments(parser: argparse.ArgumentParser) -> None:
    """Of a training: gnnrec/parallel/settings.py says what they mean."""
    parser.add_argument("--nproc", type=length, default=1, help="processes that share each batch (default: 1)")
    parser.add_argument("--engine", choices=ENGINES, default="torchrun", help="who starts them (default: torchrun)")
    parser.add_argument("--address", metavar="HOST:PORT", help="a Ray cluster to train on (default: this machine)")


def columns(typed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in typed.split(",") if name.strip())


def length(typed: str) -> int:
    if not typed.isdecimal() or int(typed) < 1:
        raise argparse.ArgumentTypeError(f"found {typed}; allowed: 1 or more")
    return int(typed)


def port(typed: str) -> int:
    if not typed.isdecimal() or int(typed) > 65_535:
        raise argparse.ArgumentTypeError(f"found {typed}; allowed: 0 to 65535")
    return int(typed)


def folder(typed: str) -> Path:
    if not Path(typed).is_dir():
        raise argparse.ArgumentTypeError(f"{typed}: {'a file' if Path(typed).exists() else 'no such folder'}")
    return Path(typed)


def file(typed: str) -> Path:
    if not Path(typed).is_file():
        raise argparse.ArgumentTypeError(f"{typed}: {'a folder' if Path(typed).exists() else 'no such file'}")
    return Path(typed)


def recipe(typed: str) -> str:
    try:
        read_recipe(typed)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return typed
