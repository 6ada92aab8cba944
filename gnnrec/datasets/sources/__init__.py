"""What a folder is, seen from the files in it, and how it is read. A new kind is one module and one line here."""

from collections.abc import Callable
from pathlib import Path

from gnnrec.datasets.assemble import STEPS, assemble
from gnnrec.datasets.dataset import Dataset
from gnnrec.datasets.raw import RawDataset
from gnnrec.datasets.sources import folder, huggingface, mmrec, movielens, recbole
from gnnrec.errors import UserError
from gnnrec.progress import progress

SOURCES: dict[str, tuple[Callable[[Path], bool], Callable[[Path], RawDataset]]] = {  # the first that is found is taken
    "a folder with dataset.toml": (folder.found, folder.read),
    "RecBole atomic files (.inter, header name:type)": (recbole.found, recbole.read),
    "an MMRec folder (.inter with x_label)": (mmrec.found, mmrec.read),
    "a MovieLens folder (ratings.csv, ratings.dat or u.data)": (movielens.found, movielens.read),
    "a Hugging Face dataset saved on disk": (huggingface.found, huggingface.read),
}


def load(path: Path) -> Dataset:
    """Read the dataset at `path`. Raises UserError, which begins with the file as it is reached from here."""
    if not path.is_dir():
        found = "a file" if path.exists() else "not there"
        raise UserError(f"{path}: {found}; a dataset is a folder: {'; '.join(SOURCES)}")
    for is_one, read in SOURCES.values():
        if is_one(path):
            return read_whole(path, read)
    raise UserError(f"{path}: nothing to read in it; a dataset is one of: {'; '.join(SOURCES)}")


def read_whole(path: Path, read: Callable[[Path], RawDataset]) -> Dataset:
    with progress(total=STEPS + 1, text=f"reading {path}", unit="step") as bar:
        try:
            raw = read(path.resolve())
            bar.update()
            return assemble(raw, bar.update)
        except UserError as error:  # readers name files relative to the folder
            raise UserError(f"{path}/{error}") from error
