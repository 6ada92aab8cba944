"""Paths that a dataset names: they have to stay in its folder."""

from pathlib import Path

from gnnrec.errors import UserError


def inside(root: Path, name: str) -> bool:
    """Whether root/name is below root once `..` and symbolic links are followed. `root` has to be resolved."""
    return (root / name).resolve().is_relative_to(root)


def file_inside(root: Path, name: str, where: str) -> Path:
    """The existing file or folder `name` of the dataset at `root`; `where` names the key for the message."""
    root = root.resolve()
    if not inside(root, name):
        raise UserError(f"{where}: {name!r} leaves the folder of the dataset {root}; only files below it are read")
    path = root / name
    if not path.exists():
        raise UserError(f"{where}: there is no file {name!r} in {root}")
    return path
