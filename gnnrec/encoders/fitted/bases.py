"""The pretrained encoders that another one is made from."""

from pathlib import Path

from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.pretrained import PRETRAINED, locate, require
from gnnrec.errors import UserError


def base_folder(name: str) -> Path:
    """The folder of a base: a name, a folder, or an id of the hub. Raises UserError for one that was made here."""
    path = Path(name).expanduser()
    source = path if path.is_dir() else (locate(name) or require(name))
    if read_facts(source) is not None:
        raise UserError(f"encoder.base: found {name}, which was made here; allowed: a model of Hugging Face")
    return source


def prefix_of(name: str) -> str | None:
    """What a text has to begin with for this base; None: as its folder says."""
    return PRETRAINED[name].prefix or None if name in PRETRAINED else None
