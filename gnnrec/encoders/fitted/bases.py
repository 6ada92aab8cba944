"""The pretrained encoders that another one is made from."""

from pathlib import Path

from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.pretrained import locate, require
from gnnrec.errors import UserError


def base_folder(name: str) -> Path:
    """The folder of a base: a name, a folder, or an id of the hub. Raises UserError for one that was made here."""
    path = Path(name).expanduser()
    source = path if path.is_dir() else (locate(name) or require(name))
    if read_facts(source) is not None:
        raise UserError(f"encoder.base: found {name}, which was made here; allowed: a model of Hugging Face")
    return source
