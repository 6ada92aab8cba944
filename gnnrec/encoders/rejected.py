"""Content that cannot be used, in the shape of Dataset.rejected: where it is named, the reason, the file or text."""

import os.path
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.content import PATH_PROBLEMS
from gnnrec.datasets.dataset import REJECTED_SCHEMA, Dataset
from gnnrec.encoders.encode import EncodersConfig
from gnnrec.encoders.features import Features
from gnnrec.encoders.media import Unreadable, decode_audio, read_image
from gnnrec.encoders.read_ahead import READERS
from gnnrec.progress import progress

LONGEST_VALUE = 200  # characters of a text that are shown


def unusable_content(dataset: Dataset, items: Mapping[str, Features], users: Mapping[str, Features]) -> pl.DataFrame:
    """The content of items and users that counts as missing: paths that lead nowhere, and what encoding found."""
    return pl.concat(
        [dataset.rejected.filter(pl.col("reason").is_in(PATH_PROBLEMS))]
        + [
            named(catalog, modality, features.rejected, dataset.root)
            for catalog, content in ((dataset.items, items), (dataset.users, users))
            for modality, features in content.items()
            if catalog is not None and features.rejected
        ]
    )


def check_media(dataset: Dataset) -> pl.DataFrame:
    """Decode every picture and sound that the dataset names and list what cannot be read; no encoder runs.

    Of a sound as many seconds as encoders listen to by default.
    """
    return pl.concat(
        [pl.DataFrame(schema=REJECTED_SCHEMA)]
        + [
            named(catalog, modality, unreadable(paths, modality), dataset.root)
            for catalog in (dataset.items, dataset.users)
            if catalog is not None
            for modality, paths in (catalog.media or {}).items()
        ]
    )


def unreadable(paths: Sequence[Path | None], modality: str) -> dict[int, str]:
    """Position -> reason."""
    read: Any = read_image if modality == "image" else partial(decode_audio, seconds=EncodersConfig().audio_seconds)

    def problem(path: Path) -> str | None:
        try:
            read(path)
        except Unreadable as error:
            return str(error)
        return None

    there = {row: path for row, path in enumerate(paths) if path is not None}
    with ThreadPoolExecutor(READERS) as pool:
        found = progress(
            pool.map(problem, there.values()), total=len(there), text=f"opening {modality} files", unit="file"
        )
        return {row: reason for row, reason in zip(there, found) if reason is not None}


def named(catalog: Catalog, modality: str, reasons: Mapping[int, str], root: Path) -> pl.DataFrame:
    """Rows of the catalogue and what is wrong with their content -> its file and line, the reason, the content."""
    contents = catalog.content(modality)
    rows = [(catalog.file, catalog.line(row), reason, shown(contents[row], root)) for row, reason in reasons.items()]
    return pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row").sort("line", nulls_last=True)


def shown(content: str | Path, root: Path) -> str:
    """A text as far as it need be seen, a path as the dataset names it: relative to its folder."""
    return os.path.relpath(content, root) if isinstance(content, Path) else content[:LONGEST_VALUE]
