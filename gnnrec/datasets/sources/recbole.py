"""RecBole's atomic files: NAME.inter, NAME.item, NAME.user, NAME.net; tab-separated, a header of name:type, no quotes.

https://recbole.io/docs/user_guide/data/atomic_files.html
"""

from dataclasses import replace
from pathlib import Path

from gnnrec.datasets.raw import RawCatalog, RawDataset, RawLog, RawTable
from gnnrec.datasets.sources.delimited import first_line, read_delimited
from gnnrec.errors import UserError

TYPES = ("token", "token_seq", "float", "float_seq")


def found(folder: Path) -> bool:
    return any(":" in first_line(path) for path in folder.glob("*.inter"))


def read(folder: Path) -> RawDataset:
    paths = sorted(folder.glob("*.inter"))
    if len(paths) > 1:
        raise UserError(f"{paths[1].name}: beside {paths[0].name}; one .inter file is allowed")
    name = paths[0].stem
    log, kinds = read_atomic(paths[0])
    return RawDataset(
        name=name,
        root=folder,
        log=RawLog(
            table=log,
            user="user_id",
            item="item_id",
            timestamp="timestamp" if "timestamp" in kinds else None,
            rating="rating" if "rating" in kinds else None,
        ),
        items=read_catalog(folder / f"{name}.item", "item_id"),
        users=read_catalog(folder / f"{name}.user", "user_id"),
        friends=read_atomic(folder / f"{name}.net")[0] if (folder / f"{name}.net").is_file() else None,
    )


def read_catalog(path: Path, id_column: str) -> RawCatalog | None:
    """Its text columns are those of type token_seq: words."""
    if not path.is_file():
        return None
    table, kinds = read_atomic(path)
    return RawCatalog(
        table=table, id=id_column, text=tuple(name for name, kind in kinds.items() if kind == "token_seq")
    )


def read_atomic(path: Path) -> tuple[RawTable, dict[str, str]]:
    """The table with plain column names, and column -> type."""
    table = read_delimited(path, path.name, separator="\t", quoted=False)
    kinds = {}
    for column in table.columns:
        name, _, kind = column.partition(":")
        if kind not in TYPES:
            raise UserError(f"{path.name}, line 1: {column!r} is not name:type; types: {', '.join(TYPES)}")
        kinds[name] = kind
    frame = table.frame.rename({column: column.partition(":")[0] for column in table.columns})
    return replace(table, frame=frame), kinds
