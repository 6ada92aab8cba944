"""What `gnnrec inspect` says and draws of a dataset folder or a run."""

from gnnrec.inspect.folder import inspect_folder

__all__ = ["inspect_folder"]
