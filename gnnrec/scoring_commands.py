"""The commands of private scoring: what can be typed after them, what they call and print."""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gnnrec.arguments import Add, folder, length
from gnnrec.commands import remarks, show
from gnnrec.errors import UserError


def add_commands(add: Add) -> None:
    keep = add(
        "user-vector",
        user_vector,
        "write the vector of one user, which she keeps for private-recommend, and the ids of what she had",
        "gnnrec user-vector runs/movies --user 1 --to me.npy",
    )
    keep.add_argument("run", type=folder)
    keep.add_argument("--user", help="id of a known user")
    keep.add_argument("--history", type=_ids, metavar="ID,ID", help="somebody new: ids of items she had, newest last")
    keep.add_argument("--to", type=Path, required=True, metavar="FILE.npy", help="FILE.known beside it has the ids")

    private = add(
        "private-recommend",
        private_recommend,
        "recommend by a service that scores an encrypted vector and learns neither it nor the list",
        'gnnrec private-recommend http://127.0.0.1:8000 --vector me.npy --known "$(cat me.known)"',
    )
    private.add_argument(
        "where", metavar="URL|RUN", help="address of gnnrec serve --private-scoring, or a run: both sides, to show it"
    )
    private.add_argument("--vector", type=Path, metavar="FILE.npy", help="with an address: as user-vector wrote it")
    private.add_argument("--known", type=_ids, default=[], metavar="ID,ID", help="with an address: items not to list")
    private.add_argument("--user", help="with a run: id of a known user")
    private.add_argument("-k", type=length, default=10, help="length of the list (default: 10)")


def _ids(typed: str) -> list[str]:
    return [name for name in (part.strip() for part in typed.split(",")) if name]


def user_vector(options: argparse.Namespace) -> None:
    from gnnrec.privacy import vectors
    from gnnrec.run_folder import Run

    if (options.user is None) == (options.history is None):
        raise UserError("user-vector: expected one of --user and --history")
    run = Run.load(options.run)
    of_user = options.user is not None
    kept = vectors.of_user(run, options.user) if of_user else vectors.of_history(run, options.history)
    written = [str(path) for path in vectors.write(kept, options.to)]
    document = {"written": written, "dimensions": len(kept.vector), "known": len(kept.known)}
    show(options, document, lambda: "\n".join(written))


def private_recommend(options: argparse.Namespace) -> None:
    remote = "://" in options.where
    for name, typed, fits in (
        ("--vector", options.vector is not None, remote),
        ("--known", bool(options.known), remote),
        ("--user", options.user is not None, not remote),
    ):
        if typed and not fits:
            raise UserError(f"private-recommend {name}: goes with {'a run folder' if remote else 'an address'}")
    if (options.vector if remote else options.user) is None:
        raise UserError(f"private-recommend: {options.where} needs {'--vector FILE.npy' if remote else '--user ID'}")
    (_ask if remote else _demonstrate)(options)


def _ask(options: argparse.Namespace) -> None:
    from gnnrec.privacy import client, vectors

    found = client.recommend(options.where, vectors.read(options.vector), options.known, options.k)
    _show(options, found, None)


def _demonstrate(options: argparse.Namespace) -> None:
    """Both sides on this machine, as processes of their own, and the list that plain inner products give."""
    import numpy as np

    from gnnrec.privacy import client, vectors
    from gnnrec.run_folder import Run

    try:
        run = Run.load(folder(options.where))
    except argparse.ArgumentTypeError as error:
        raise UserError(f"private-recommend: {error}") from error
    kept = vectors.of_user(run, options.user)
    with served(run.folder) as address:
        found = client.recommend(address, kept.vector, kept.known, options.k)
    scores = run.item_vectors.astype(float) @ kept.vector.astype(float)
    scores[[run.item_index(name) for name in kept.known]] = -np.inf
    best = np.argsort(-scores, kind="stable")[: len(found.places)]
    _show(options, found, [run.item_ids[item] for item in best])


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of a service on this machine that ends afterwards."""
    with tempfile.TemporaryDirectory(prefix="gnnrec-") as work:
        command = ["-m", "gnnrec.cli", "serve", str(run), "--port", "0", "--private-scoring", "--max-mb", "1000"]
        command += ["--feedback", f"{work}/feedback.jsonl"]
        with subprocess.Popen([sys.executable, "-W", "ignore", *command], stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = re.search(r"http://\S+?:\d+", server.stdout.readline())
                if address is None:
                    raise UserError("private-recommend: the service did not start; its reason is above")
                yield address.group()
            finally:
                server.kill()  # it has nothing to finish, and would wait until it is warm


def _show(options: argparse.Namespace, found: Any, plain: list[str] | None) -> None:
    from gnnrec.privacy.homomorphic import PARAMETERS

    places = [
        {"rank": rank, "id": name, "score": score, "title": title}
        for rank, (name, title, score) in enumerate(found.places, 1)
    ]
    document = {"items": places, "complete": found.complete, "encryption": asdict(PARAMETERS)}
    document |= {"bytes": {"up": found.bytes_up, "down": found.bytes_down}, "seconds": found.seconds}
    if plain is not None:
        document |= {"plain": plain, "same": plain == [place["id"] for place in places]}
    say = remarks(options)
    spent = ", ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in found.seconds.items())
    how = f"{PARAMETERS.scheme}, degree {PARAMETERS.poly_modulus_degree}, {PARAMETERS.security_bits} bits of security"
    say(f"{how}; {found.bytes_up:,} bytes up, {found.bytes_down:,} down; {spent}")
    if not found.complete:
        say("this run adds item paths to the inner products; only the inner products are scored privately")
    if plain is not None:
        say(f"without encryption: {'the same list' if document['same'] else ', '.join(plain)}")
    lines = [f"{p['rank']:4}  {p['score']:9.6f}  {p['id']:<12} {p['title'] or ''}" for p in places]
    show(options, document, lambda: "\n".join(lines))
