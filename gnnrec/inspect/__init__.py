"""What `gnnrec inspect` says and draws of a dataset folder or a run."""

from gnnrec.inspect.augment import Augmentations
from gnnrec.inspect.folder import inspect_folder

__all__ = ["Augmentations", "inspect_folder"]
