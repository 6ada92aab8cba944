"""dataset.toml, read strictly: an unknown key or a wrong type is an error that lists what is allowed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gnnrec.datasets.dataset import SplitConfig
from gnnrec.errors import UserError

FILE = "dataset.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSection:
    """[interactions]: a file (`path`) or a database (`uri` and `query`), and the names of its columns."""

    path: str | None = None
    uri: str | None = None
    query: str | None = None
    user: str = "user"
    item: str = "item"
    timestamp: str | None = None  # unix seconds
    rating: str | None = None
    min_rating: float | None = None  # rows below it are no interactions
    retention_days: float | None = None  # rows that are older, counted from the newest, are left out
    split: str | None = None  # train | val | test


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSection:
    """[items] or [users]."""

    path: str | None = None
    uri: str | None = None
    query: str | None = None
    id: str | None = None  # "item" or "user" where it is not said
    text: tuple[str, ...] = ()
    image: str | None = None
    audio: str | None = None
    friends: str | None = None  # [users] only


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    name: str
    licence: str
    log: LogSection
    items: CatalogSection | None
    users: CatalogSection | None
    item_features: Mapping[str, str] = field(default_factory=dict)  # modality -> path
    user_features: Mapping[str, str] = field(default_factory=dict)
    split: SplitConfig | None = None


TYPES: dict[Any, tuple[tuple[type, ...], str]] = {  # the annotation of a field -> what TOML may hold, and its name
    str: ((str,), "a string"),
    str | None: ((str,), "a string"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    float | None: ((int, float), "a number"),
    tuple[str, ...]: ((str, list), "a string or a list of strings"),
}

Section = TypeVar("Section", LogSection, CatalogSection, SplitConfig)


def read_description(folder: Path) -> Description:
    """Parse folder/dataset.toml. Raises UserError naming the key."""
    try:
        document = tomllib.loads((folder / FILE).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{FILE}: not valid TOML: {error}") from error
    check_keys(document, ("name", "licence", "interactions", "split", "items", "users", "features"), "")
    for key in ("name", "licence"):
        if not isinstance(document.get(key, ""), str):
            raise UserError(f"{FILE}: {key}: {document[key]!r} is not a string")
    if "interactions" not in document:
        raise UserError(f"{FILE}: no section [interactions]; it names the log: path, user, item")
    log = read_section(LogSection, document["interactions"], "interactions")
    check_source(log, "interactions")
    if log.min_rating is not None and log.rating is None:
        raise UserError(f"{FILE}: [interactions] min_rating: needs rating, the name of a column")
    if log.retention_days is not None and log.timestamp is None:
        raise UserError(f"{FILE}: [interactions] retention_days: needs timestamp, the name of a column")
    if log.retention_days is not None and not 0 < log.retention_days < float("inf"):
        raise UserError(f"{FILE}: [interactions] retention_days: found {log.retention_days}; allowed: above 0")
    item_features, user_features = read_features(document.get("features", {}))
    items, users = read_catalog(document, "items"), read_catalog(document, "users")
    for key, features, catalog in (("", item_features, items), ("user.", user_features, users)):
        if features and (catalog is None or (catalog.path is None and catalog.uri is None)):
            name = "[users]" if key else "[items]"
            raise UserError(
                f"{FILE}: [features.{key}{min(features)}]: needs {name}: row r of it belongs to row r of that file"
            )
    return Description(
        name=document.get("name", folder.resolve().name),
        licence=document.get("licence", ""),
        log=log,
        items=items,
        users=users,
        item_features=item_features,
        user_features=user_features,
        split=read_section(SplitConfig, document["split"], "split") if "split" in document else None,
    )


def read_catalog(document: dict[str, Any], name: str) -> CatalogSection | None:
    if name not in document:
        return None
    section = read_section(CatalogSection, document[name], name, without=() if name == "users" else ("friends",))
    content = [key for key in ("id", "text", "image", "audio") if getattr(section, key)]
    if name == "items" or content or section.uri or section.query or section.path:
        check_source(section, name)
    return section


def read_features(table: Any) -> tuple[dict[str, str], dict[str, str]]:
    """[features.NAME] of items and [features.user.NAME] of users: modality -> path."""
    check_table(table, "features")
    of_users = table.get("user", {})
    check_table(of_users, "features.user")
    found: list[dict[str, str]] = []
    for prefix, entries in (("features", table), ("features.user", of_users)):
        paths = {}
        for name, entry in entries.items():
            if prefix == "features" and name == "user":
                continue
            where = f"{prefix}.{name}"
            check_table(entry, where)
            check_keys(entry, ("path",), where)
            if not isinstance(entry.get("path"), str):
                raise UserError(f"{FILE}: [{where}] path: a string is needed")
            paths[name] = entry["path"]
        found.append(paths)
    return found[0], found[1]


def read_section(cls: type[Section], table: Any, where: str, without: tuple[str, ...] = ()) -> Section:
    """The TOML table as the frozen dataclass `cls`."""
    check_table(table, where)
    kinds: dict[str, Any] = {entry.name: entry.type for entry in fields(cls)}
    check_keys(table, [name for name in kinds if name not in without], where)
    values: dict[str, Any] = {}
    for key, value in table.items():
        allowed, text = TYPES[kinds[key]]
        parts: list[Any] = value if isinstance(value, list) else [value]
        if not isinstance(value, allowed) or not all(isinstance(part, allowed) for part in parts):
            raise UserError(f"{FILE}: [{where}] {key}: {value!r} is not {text}")
        if any(isinstance(part, (bool, list)) for part in parts):  # True is an int to Python
            raise UserError(f"{FILE}: [{where}] {key}: {value!r} is not {text}")
        values[key] = tuple(parts) if list in allowed else value
    try:
        return cls(**values)
    except UserError as error:
        raise UserError(f"{FILE}: {error}") from error


def check_source(section: LogSection | CatalogSection, where: str) -> None:
    given = (section.path is not None, section.uri is not None, section.query is not None)
    if given not in ((True, False, False), (False, True, True)):
        raise UserError(f"{FILE}: [{where}]: needs either path, or uri and query")


def check_table(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise UserError(f"{FILE}: {where}: {value!r} is not a section [{where}]")


def check_keys(table: dict[str, Any], allowed: Any, where: str) -> None:
    for key in table:
        if key not in allowed:
            place = f"[{where}] " if where else ""
            raise UserError(f"{FILE}: {place}unknown key {key!r}; allowed: {', '.join(allowed)}")
