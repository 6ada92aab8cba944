"""The folder of a fitted encoder: written whole or not at all, read without running anything."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.files import sync_folder, write_json

FILE = "encoder.json"


def write_folder(folder: Path, facts: dict[str, Any], fill: Callable[[Path], dict[str, Any]]) -> None:
    """Make `folder`: `fill` writes its other files and returns what is to stand in encoder.json beside `facts`.

    Raises UserError where there is something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: there is something already; expected a new or empty folder")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
    try:
        write_json(work / FILE, facts | fill(work))
        work.chmod(0o755)
        work.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
