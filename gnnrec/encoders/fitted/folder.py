"""The folder of a fitted encoder: written whole or not at all, read without running anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.files import check_new, new_folder, write_json

FILE = "encoder.json"


def write_folder(folder: Path, facts: dict[str, Any], fill: Callable[[Path], dict[str, Any]]) -> None:
    """Make `folder`: `fill` writes its other files and returns what is to stand in encoder.json beside `facts`.

    Raises UserError where there is something already.
    """
    check_new(folder)
    with new_folder(folder) as work:
        write_json(work / FILE, facts | fill(work))


def facts_of(encoder: str | None) -> dict[str, Any] | None:
    """`read_facts` of an encoder as settings name it; None for any that was not fitted here."""
    return read_facts(Path(encoder).expanduser()) if encoder else None


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What encoder.json says; None where `folder` is no fitted encoder. Raises UserError where it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    if not (isinstance(facts, dict) and all(isinstance(facts.get(key), str) for key in ("kind", "modality"))):
        raise UserError(f"{path}: expected an object with kind and modality")
    return facts
