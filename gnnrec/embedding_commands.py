"""The commands export, import and search: what can be typed after them, what they call and print."""

import argparse
import re
from collections.abc import Callable
from contextlib import closing
from itertools import compress
from pathlib import Path
from typing import Any

from gnnrec.arguments import FORMATS, TARGETS, columns, file, folder, formats, length, one_of
from gnnrec.commands import remarks, show
from gnnrec.errors import UserError, count

PRECISIONS = ("fp32", "fp16", "int8")
INDEXES = ("exact", "approximate")
NAME = "gnnrec"
PLACES = "lancedb:FOLDER, qdrant:http://HOST:6333, postgresql://USER@HOST/DATABASE"


def export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=folder)
    parser.add_argument(
        "--to",
        required=True,
        help=f"folder of files, or {PLACES} (keys: PGPASSWORD, QDRANT_API_KEY in the environment)",
    )
    parser.add_argument("--format", type=formats, help="of files, comma-separated (default: all but faiss-pq)")
    parser.add_argument(
        "--precision", type=one_of(PRECISIONS), default="fp32", help="of files: fp32, fp16 or int8 (a scale a row)"
    )
    parser.add_argument(
        "--dim", type=length, help="dimensions to keep, after a rotation that puts the weightiest ones first"
    )
    parser.add_argument("--shards", type=length, help="with --format faiss: files that the items are divided among")
    parser.add_argument(
        "--index",
        type=one_of(INDEXES),
        help="of a database: exact or approximate (default: exact up to 200,000 items)",
    )
    parser.add_argument("--pseudonyms", action="store_true", help="keyed hashes for the ids of users")
    parser.add_argument(
        "--k-anonymity", type=length, metavar="K", help="of files: leave out users whose columns fewer share"
    )
    parser.add_argument("--columns", help="of the users' table that --k-anonymity looks at (default: all but the id)")
    _add_name(parser)
    parser.add_argument("--encrypt", action="store_true", help="the files; the key: GNNREC_KEY_FILE=FILE")
    parser.add_argument("--replace", action="store_true", help="in a database: put new tables in the place of old ones")


def import_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FROM", help=f"folder that gnnrec export wrote, or {PLACES}")
    parser.add_argument("--to", type=Path, required=True, help="new folder")
    parser.add_argument("--format", type=formats, help="of the files, comma-separated (default: npy)")
    _add_name(parser)
    parser.add_argument(
        "--rows-of",
        type=folder,
        metavar="DATA",
        help="write items.npy with its rows in the order of this dataset's items, missing ones as NaN, and users.npy "
        "where it has a file of users: what [features.NAME] in its dataset.toml takes, where FOLDER is below DATA. "
        "Vectors learnt from the same log know its validation rows",
    )


def search_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=folder, help="folder that gnnrec export --format faiss --shards N wrote")
    parser.add_argument("--vectors", type=file, required=True, help=".npy file of queries, a row each")
    parser.add_argument("-k", type=length, default=10, help="length of a list (default: 10)")


def search(options: argparse.Namespace) -> None:
    from gnnrec.sharded_index import nearest_rows, read_queries
    from gnnrec.tables import table

    ids, found = nearest_rows(options.index, read_queries(options.vectors), options.k)
    lists = [
        [{"item": ids[row], "score": float(score)} for row, score in zip(*one, strict=True) if row >= 0]
        for one in zip(*found, strict=True)
    ]

    def text() -> str:
        rows = [
            (query, rank, one["item"], one["score"])
            for query, best in enumerate(lists)
            for rank, one in enumerate(best, 1)
        ]
        return table(("query", "rank", "item", "score"), rows, numbers=("query", "rank", "score"))

    show(options, {"index": str(options.index), "lists": lists}, text)


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--name", type=_name, default=NAME, help=f"of the tables NAME_users and NAME_items (default: {NAME})"
    )


def _name(typed: str) -> str:
    # PostgreSQL cuts names at 63 bytes; NAME_STAMP_items has to fit.
    if not re.fullmatch("[a-z][a-z0-9_]{0,19}", typed):
        raise argparse.ArgumentTypeError(f"found {typed!r}; allowed: a to z, 0 to 9 and _, 20 at most, a letter first")
    return typed


def export(options: argparse.Namespace) -> None:
    kind, colon, _ = options.to.partition(":")
    database = kind in TARGETS
    if colon and not database and len(kind) > 1 and "/" not in kind:  # one letter: a drive
        raise UserError(f"export --to: found {options.to!r}; allowed: a folder (./NAME:REST for such a one), {PLACES}")
    typed = {
        "--format": options.format is not None,
        "--precision": options.precision != "fp32",
        "--shards": options.shards is not None,
        "--k-anonymity": options.k_anonymity is not None,
        "--encrypt": options.encrypt,
        "--index": options.index is not None,
        "--replace": options.replace,
        "--name": options.name != NAME,
    }
    for option, of_database in zip(typed, (False, False, False, False, False, True, True, True)):
        if typed[option] and of_database != database:
            raise UserError(f"export {option}: goes with a {'database' if of_database else 'folder of files'}")
    (_export_to_database if database else _export_files)(options)


def _export_files(options: argparse.Namespace) -> None:
    from gnnrec.privacy.exports import ExportConfig, export_run
    from gnnrec.run_folder import Run
    from gnnrec.targets.check import check_files

    names, to, say = options.format or FORMATS, Path(options.to), remarks(options)
    config = ExportConfig(
        formats=names,
        precision=options.precision,
        dim=options.dim,
        pseudonyms=options.pseudonyms,
        k_anonymity=options.k_anonymity or 0,
        columns=columns(options.columns or ""),
        encrypt=options.encrypt,
    )
    run = Run.load(options.run)
    if options.shards is not None:
        _export_shards(options, run, to)
        return
    made = export_run(run, to, config)
    _say_if_plain(run.folder, to, say)
    answers = {name: check_files(to, name, made.whole) for name in names}
    for name, answer in answers.items():
        say(f"{name}: {answer}")
    if made.left_out:
        say(f"{count(made.left_out, 'user')} left out")
    _show(options, [str(path) for path in made.written], answers)


def _export_shards(options: argparse.Namespace, run: Any, to: Path) -> None:
    """The items as an index of several files, asked as one."""
    from functools import partial

    from gnnrec.export import Exported
    from gnnrec.sharded_index import search_shards, write_shards
    from gnnrec.targets.check import check_answers
    from gnnrec.vault import is_encrypted

    if options.format != ("faiss",) or options.dim or options.encrypt or options.pseudonyms or options.k_anonymity:
        raise UserError("export --shards: goes with --format faiss and --precision alone")
    if is_encrypted(run.folder) or is_encrypted(to):
        raise UserError(f"{to}: would be plain, and the run is encrypted; allowed: export without --shards")
    written = write_shards(run.item_vectors, run.item_ids, to, options.shards, options.precision)
    whole = Exported(run.user_vectors, run.item_vectors, run.user_ids, run.item_ids)
    answer = check_answers(partial(search_shards, to), run.user_vectors, whole)
    remarks(options)(f"{options.shards} shards: {answer}")
    _show(options, [str(path) for path in written], {"faiss": answer})


def _export_to_database(options: argparse.Namespace) -> None:
    from gnnrec.datasets.pseudonyms import Pseudonyms
    from gnnrec.export import Exported, prepare
    from gnnrec.privacy.exports import kept_rows
    from gnnrec.run_folder import Run
    from gnnrec.targets import open_target
    from gnnrec.targets.check import check_answers
    from gnnrec.targets.moving import store

    run, say = Run.load(options.run), remarks(options)
    keep = ~run.due
    ids = tuple(compress(run.user_ids, keep))
    if options.pseudonyms:
        pseudonyms = Pseudonyms.required()
        ids = tuple(map(pseudonyms.of, ids))
    whole = Exported(kept_rows(run.user_vectors, keep), run.item_vectors, ids, run.item_ids)
    embeddings = prepare(*whole, options.dim)
    words = {"title": run.items.titles(), "text": run.items.text()} if run.items else {}
    _say_if_plain(run.folder, Path(), say)
    exact = None if options.index is None else options.index == "exact"
    with closing(open_target(options.to, options.name)) as target:
        written = store(target, embeddings, words, exact=exact, replace=options.replace)
        answer = check_answers(target.search, embeddings.user, whole)
        say(f"{target.where}: {answer}")
        _show(options, [f"{target.where} {name}" for name in written], {target.where: answer})
    if not run.ranks_by_embeddings:
        say("this model adds item paths to the inner products; the lists with them: gnnrec export into a folder")


def _say_if_plain(source: Path, to: Path, say: Callable[[str], None]) -> None:
    from gnnrec.vault import is_encrypted

    if is_encrypted(source) and not is_encrypted(to):
        say(f"{source} is encrypted, and what goes out is not")


def _show(options: argparse.Namespace, written: list[str], answers: dict[str, Any]) -> None:
    document = {"written": written, "checks": {name: answer.to_json() for name, answer in answers.items()}}
    show(options, document, lambda: "\n".join(written))


def import_embeddings(options: argparse.Namespace) -> None:
    if options.rows_of is not None and options.format is not None:
        raise UserError("import --format: goes without --rows-of, which writes .npy")
    from gnnrec.export import export_embeddings
    from gnnrec.files import check_new, new_folder
    from gnnrec.targets.moving import described, fetch, rows_of, write_features

    check_new(options.to)  # before anybody is asked for much
    found = fetch(options.source, options.name)
    sizes = {"users": len(found.user), "items": len(found.item), "dimensions": found.item.shape[1]}
    rows = None if options.rows_of is None else rows_of(options.rows_of, found)
    with new_folder(options.to) as made:
        if rows is None:
            export_embeddings(*found, made, options.format or ("npy",))
        else:
            write_features(made, rows)
    if Path(options.source).is_dir():
        _say_if_plain(Path(options.source), options.to, remarks(options))
    document: dict[str, Any] = {"folder": str(options.to)} | sizes
    lines = [f"{options.to}: {', '.join(f'{number:,} {what}' for what, number in sizes.items())}"]
    if rows is not None:
        document["use"] = described(options.to, options.rows_of, rows)
        lines.append(document["use"])
    show(options, document, lambda: "\n".join(lines))
