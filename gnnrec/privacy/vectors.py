"""What a client of private scoring keeps for herself: her vector, and the ids of the items she had."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.files import atomic_path, write_text
from gnnrec.run_folder import Run
from gnnrec.untrusted import refusing


class Kept(NamedTuple):
    vector: NDArray[np.float32]  # [d]
    known: tuple[str, ...]  # items that are not to be recommended again


def of_user(run: Run, user: str) -> Kept:
    """Of a user of the run. Raises UserError for an unknown id, and for a model without embeddings."""
    index = run.user_index(user)
    items = run.known.item[run.known.user == index]
    return Kept(run.user_vector(index), tuple(run.item_ids[item] for item in dict.fromkeys(items.tolist())))


def of_history(run: Run, items: Sequence[str]) -> Kept:
    """Of somebody who is in no log and had these items, the newest last; nothing is trained.

    Raises UserError for an unknown item, and for a model without embeddings.
    """
    from gnnrec.models.fold_in import FoldIn, history_log

    history = [run.item_index(item) for item in items]
    run.item_vectors  # noqa: B018 (says what is wrong with a model without them)
    found = FoldIn(run.model, run.known_graph).vectors([-1], history_log([history], len(run.item_ids)))
    return Kept(found[0].numpy(), tuple(dict.fromkeys(items)))


def write(kept: Kept, path: Path) -> list[Path]:
    """PATH.npy and, beside it, PATH.known: the ids, with commas between them."""
    if path.suffix != ".npy":
        raise UserError(f"user-vector --to: found {path}; allowed: a name that ends with .npy")
    known = path.with_suffix(".known")
    with atomic_path(path) as temporary:
        np.save(temporary, kept.vector, allow_pickle=False)
    write_text(known, ",".join(kept.known) + "\n")
    for written in (path, known):
        written.chmod(0o600)
    return [path, known]


def read(path: Path) -> NDArray[np.floating[Any]]:
    """One row of numbers. [d] Raises UserError for anything else."""
    with refusing(path, "cannot be read as .npy"):
        vector = np.load(path, allow_pickle=False)
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.dtype.kind != "f":
        raise UserError(f"{path}: found {getattr(vector, 'dtype', 'an archive')}; allowed: one row of numbers")
    return vector
