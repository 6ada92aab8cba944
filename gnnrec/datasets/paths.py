"""Paths that a dataset names: they have to stay in its folder.

os.path and not pathlib, which raises where os.path answers False: loops of links, names that are too long.
"""

import os.path
from pathlib import Path

from gnnrec.errors import UserError


def inside(root: Path, name: str) -> bool:
    """Whether root/name is below root once `..` and symbolic links are followed. `root` has to be resolved."""
    return "\0" not in name and Path(os.path.realpath(root / name)).is_relative_to(root)


def file_inside(root: Path, name: str, where: str) -> Path:
    """The existing file or folder `name` of the dataset at `root`; `where` names the key for the message."""
    root = root.resolve()
    if not inside(root, name):
        raise UserError(f"{where}: {name!r} leaves the folder of the dataset; only files below it are read")
    if not os.path.exists(root / name):  # noqa: PTH110
        raise UserError(f"{where}: there is no file {name!r}")
    return root / name
