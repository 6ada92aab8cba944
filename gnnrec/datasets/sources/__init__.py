"""What a folder is, seen from the files in it, and how it is read. A new kind is one module and one line here."""

from collections.abc import Callable
from pathlib import Path

from gnnrec.datasets.assemble import assemble
from gnnrec.datasets.dataset import Dataset
from gnnrec.datasets.raw import RawDataset
from gnnrec.datasets.sources import folder
from gnnrec.errors import UserError

SOURCES: dict[str, tuple[Callable[[Path], bool], Callable[[Path], RawDataset]]] = {  # the first that is found is taken
    "a folder with dataset.toml": (folder.found, folder.read),
}


def load(path: Path) -> Dataset:
    """Read the dataset at `path`. Raises UserError."""
    if not path.is_dir():
        found = "a file" if path.exists() else "not there"
        raise UserError(f"{path}: {found}; a dataset is a folder: {'; '.join(SOURCES)}")
    for is_one, read in SOURCES.values():
        if is_one(path):
            return assemble(read(path.resolve()))
    raise UserError(f"{path}: nothing to read in it; a dataset is one of: {'; '.join(SOURCES)}")
