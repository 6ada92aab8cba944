"""A folder with a dataset.toml."""

from pathlib import Path

from gnnrec.datasets.description import FILE, CatalogSection, LogSection, read_description
from gnnrec.datasets.paths import file_inside
from gnnrec.datasets.raw import RawCatalog, RawDataset, RawLog, RawTable
from gnnrec.datasets.sources.sql import read_query
from gnnrec.datasets.sources.tables import read_table


def found(folder: Path) -> bool:
    return (folder / FILE).is_file()


def read(folder: Path) -> RawDataset:
    told = read_description(folder)
    log, users = told.log, told.users
    friends = users.friends if users else None
    return RawDataset(
        name=told.name,
        licence=told.licence,
        root=folder,
        log=RawLog(
            table=read_section(folder, log, "interactions"),
            user=log.user,
            item=log.item,
            timestamp=log.timestamp,
            rating=log.rating,
            min_rating=log.min_rating,
            retention_days=log.retention_days,
            split=log.split,
        ),
        items=read_catalog(folder, told.items, "items", "item"),
        users=read_catalog(folder, users, "users", "user"),
        friends=read_table(folder, friends, f"{FILE}: [users] friends") if friends else None,
        item_features={
            name: (file_inside(folder, path, f"{FILE}: [features.{name}] path"),)
            for name, path in told.item_features.items()
        },
        user_features={
            name: (file_inside(folder, path, f"{FILE}: [features.user.{name}] path"),)
            for name, path in told.user_features.items()
        },
        split=told.split,
    )


def read_section(folder: Path, section: LogSection | CatalogSection, where: str) -> RawTable:
    if section.uri is not None and section.query is not None:
        return read_query(folder, section.uri, section.query, f"{FILE}: [{where}]")
    assert section.path is not None
    return read_table(folder, section.path, f"{FILE}: [{where}] path")


def read_catalog(folder: Path, section: CatalogSection | None, where: str, id_column: str) -> RawCatalog | None:
    if section is None or (section.path is None and section.uri is None):  # [users] may have nothing but friends
        return None
    media = {"image": section.image, "audio": section.audio}
    return RawCatalog(
        table=read_section(folder, section, where),
        id=section.id or id_column,
        text=section.text,
        media={modality: column for modality, column in media.items() if column},
    )
