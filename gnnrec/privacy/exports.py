"""A folder of exported embeddings, and export.json in it: of which run, in which formats, for whom."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.errors import UserError
from gnnrec.export import Exported, export_embeddings
from gnnrec.privacy.anonymity import rare_users
from gnnrec.run_folder import Run
from gnnrec.scratch import blocks, empty
from gnnrec.vault import read_text

FILE = "export.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    formats: tuple[str, ...]
    precision: str = "fp32"
    dim: int | None = None
    pseudonyms: bool = False  # in the place of the users' ids, by the key of the environment
    k_anonymity: int = 0  # users whose columns fewer than k share are left out; 0: nobody is
    columns: tuple[str, ...] = ()  # of the users' table that could single somebody out; (): all but the id
    encrypt: bool = False  # by the key of the environment; a folder that is encrypted stays so

    def __post_init__(self) -> None:
        if self.k_anonymity < 0:
            raise UserError(f"export --k-anonymity: found {self.k_anonymity}; allowed: 0 (off) or more")


@dataclass(frozen=True, slots=True)
class Export:
    whole: Exported
    written: list[Path]
    left_out: int  # users


def export_run(run: Run, to: Path, config: ExportConfig) -> Export:
    """Write a run's embeddings, and its lists where these are more than inner products. Raises UserError as
    `export_embeddings`, where nobody is left, and where pseudonyms are asked for and there is no key."""
    keep = np.ones(len(run.user_ids), dtype=bool)
    if config.k_anonymity:
        keep = ~rare_users(run, config.columns, config.k_anonymity)
        if not keep.any():
            raise UserError(f"export --k-anonymity {config.k_anonymity}: no user is left; allowed: fewer --columns")
    keep &= ~run.due
    ids = [name for name, kept in zip(run.user_ids, keep) if kept]
    if config.pseudonyms:
        pseudonyms = Pseudonyms.required()
        ids = [pseudonyms.of(name) for name in ids]
    whole = Exported(kept_rows(run.user_vectors, keep), run.item_vectors, tuple(ids), run.item_ids)
    lists = None
    if not run.ranks_by_embeddings:
        items, scores = run.lists
        lists = kept_rows(items, keep), kept_rows(scores, keep)
    written = export_embeddings(
        *whole,
        to,
        config.formats,
        precision=config.precision,
        dim=config.dim,
        lists=lists,
        documents={FILE: {"run": str(run.folder.resolve()), "users": len(ids), **asdict(config)}},
        encrypt=config.encrypt,
    )
    return Export(whole, written, len(run.user_ids) - len(ids))


def kept_rows(rows: NDArray[Any], keep: NDArray[np.bool_]) -> NDArray[Any]:
    """Some of the rows, in a scratch file where that is large; all of them as they are."""
    if keep.all():
        return rows
    kept, first = empty((int(keep.sum()), *rows.shape[1:]), rows.dtype), 0
    for block in blocks(rows):
        part = rows[block][keep[block]]
        kept[first : first + len(part)] = part
        first += len(part)
    return kept


def read_export(folder: Path) -> tuple[ExportConfig, dict[str, Any]] | None:
    """How a folder was exported; None where it is no export. Raises UserError for a damaged export.json."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(read_text(path))
        config = ExportConfig(
            formats=tuple(told["formats"]),
            columns=tuple(told["columns"]),
            **{name: told[name] for name in ("precision", "dim", "pseudonyms", "k_anonymity", "encrypt")},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged: {error}") from error
    return config, told


def exports_among(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in folders if (folder / FILE).is_file()]
