"""One table of a dataset folder, read by what its name ends in."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from gnnrec.datasets.paths import file_inside
from gnnrec.datasets.raw import RawTable
from gnnrec.datasets.sources.columnar import is_arrow_folder, read_arrow_folder, read_parquet
from gnnrec.datasets.sources.delimited import read_delimited
from gnnrec.errors import UserError

FORMATS: dict[str, Callable[[Path, str], RawTable]] = {
    ".csv": read_delimited,
    ".csv.gz": read_delimited,
    ".tsv": partial(read_delimited, separator="\t"),
    ".tsv.gz": partial(read_delimited, separator="\t"),
    ".parquet": read_parquet,
}


def read_table(root: Path, name: str, where: str) -> RawTable:
    """The table `name` below `root`; `where` is the key that names it. Raises UserError."""
    path = file_inside(root, name, where)
    if is_arrow_folder(path):
        return read_arrow_folder(path, name)
    for ending, read in FORMATS.items():
        if name.lower().endswith(ending):
            return read(path, name)
    raise UserError(f"{where}: {name!r}: allowed are {', '.join(FORMATS)} and folders of Hugging Face datasets")
