"""What a folder is, seen from the files in it, and how it is read. A new kind is one module and one line here."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gnnrec.datasets.assemble import STEPS, assemble
from gnnrec.datasets.dataset import Dataset
from gnnrec.datasets.feedback import Feedback, with_feedback
from gnnrec.datasets.pseudonyms import Pseudonyms, with_pseudonyms
from gnnrec.datasets.raw import RawDataset
from gnnrec.datasets.sources import folder, huggingface, mmrec, movielens, recbole
from gnnrec.datasets.sources.partitions import Partitions, with_partitions
from gnnrec.errors import UserError
from gnnrec.progress import progress

SOURCES: dict[str, tuple[Callable[[Path], bool], Callable[[Path], RawDataset]]] = {  # the first that is found is taken
    "a folder with dataset.toml": (folder.found, folder.read),
    "RecBole atomic files (.inter, header name:type)": (recbole.found, recbole.read),
    "an MMRec folder (.inter with x_label)": (mmrec.found, mmrec.read),
    "a MovieLens folder (ratings.csv, ratings.dat or u.data)": (movielens.found, movielens.read),
    "a Hugging Face dataset saved on disk": (huggingface.found, huggingface.read),
}


def load(
    path: Path,
    feedback: Feedback | None = None,
    pseudonyms: Pseudonyms | None = None,
    partitions: Sequence[Partitions] = (),
) -> Dataset:
    """Read the dataset at `path`, with the events of a feedback log and partitions as further rows of its own, and
    pseudonyms for ids.

    Raises UserError, which begins with the file as it is reached from here.
    """
    read = find_reader(path)
    with progress(total=STEPS + 1, text=f"reading {path}", unit="step") as bar, named(path):

        def raw() -> RawDataset:
            found = read(path.resolve())
            bar.update()
            if feedback is not None:
                found = replace(found, log=with_feedback(found.log, feedback))
            for more in partitions:
                found = with_partitions(found, more)
            return found if pseudonyms is None else with_pseudonyms(found, pseudonyms)

        check = None if pseudonyms is None else pseudonyms.check
        made = assemble(raw(), bar.update)  # which lets go of the tables as it goes on
        return replace(made, feedback=feedback, pseudonyms=check, partitions=tuple(partitions))


def read_raw(path: Path) -> RawDataset:
    """The tables at `path` before anything in them is checked. Raises UserError as `load` does."""
    read = find_reader(path)
    with named(path):
        return read(path.resolve())


def find_reader(path: Path) -> Callable[[Path], RawDataset]:
    if not path.is_dir():
        found = "a file" if path.exists() else "not there"
        raise UserError(f"{path}: {found}; a dataset is a folder: {'; '.join(SOURCES)}")
    for is_one, read in SOURCES.values():
        if is_one(path):
            return read
    raise UserError(f"{path}: nothing to read in it; a dataset is one of: {'; '.join(SOURCES)}")


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """Readers name files relative to the folder; a message has to say which folder."""
    try:
        yield
    except UserError as error:
        said = str(error)  # of a file elsewhere, such as a feedback log, with its whole path
        raise UserError(said if said.startswith("/") else f"{folder}/{said}") from error
