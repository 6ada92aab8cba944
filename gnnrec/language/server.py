"""A language model by its settings, wherever it is; what can be asked of it, and the texts it answers with."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.encoders.pretrained import locate, require
from gnnrec.errors import UserError
from gnnrec.language.settings import ModelConfig

if TYPE_CHECKING:
    from gnnrec.language.endpoint import Budget
    from gnnrec.language.local import LocalLM

BROKEN = 3  # failures in a row after which a server is left alone
TEXT_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
    "additionalProperties": False,
}


class Server(Protocol):
    name: str  # model, and revision or address
    budget: "Budget"

    def complete(self, system: str, prompt: str, schema: dict[str, object], max_tokens: int) -> str: ...

    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]: ...

    def num_tokens(self, text: str) -> int: ...


def open_model(name: str, section: str = "llm", *, trainable: bool = False) -> "LocalLM":
    """The language model by name; nothing is downloaded. Raises UserError where it is not here.

    section: of the settings, as errors call it. trainable: whether anything will be learnt beside its weights.
    """
    from gnnrec.encoders.encode import default_device
    from gnnrec.encoders.huggingface import revision
    from gnnrec.files import sha256_of_file
    from gnnrec.language.local import LocalLM

    path = Path(name).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"{section}.model: {path}: no such file")
        return LocalLM(path, f"{path.name}@{sha256_of_file(path)[:12]}", default_device(), trainable=trainable)
    models = [known for known, model in PRETRAINED.items() if model.task == "llm"]
    folder = path if path.is_dir() else locate(name)
    if folder is None and name.startswith(("/", ".", "~")):
        raise UserError(f"{section}.model: {path}: no such folder")
    if folder is None and name not in models and "/" not in name:
        allowed = f"{', '.join(models)}, a folder, a .gguf file, or a hub id"
        raise UserError(f"{section}.model is {name!r}: allowed are {allowed}")
    folder = folder or require(name)
    return LocalLM(folder, f"{name}@{revision(folder)}", default_device(), trainable=trainable)


def open_server(config: ModelConfig) -> Server:
    """The model as one to talk to. Raises UserError where it is not here, and for an address that is none."""
    from gnnrec.language.endpoint import Endpoint
    from gnnrec.language.local_server import LocalServer

    if config.provider == "local":
        return LocalServer(open_model(config.model, config.section), config.budget())
    return Endpoint(config.base_url, config.model, config.budget(), config.section, config.revision)


def json_in(answer: str, first: str = "{", last: str = "}") -> Any:
    """What stands between the first sign and the last one of its kind, read as JSON; None where it is none."""
    begin, end = answer.find(first), answer.rfind(last)
    if not 0 <= begin < end:
        return None
    try:
        return json.loads(answer[begin : end + 1])
    except (ValueError, RecursionError):
        return None


def text_of(answer: str) -> str:
    """The text of a JSON answer by TEXT_SCHEMA; an answer that is none is taken as it is."""
    found = json_in(answer)
    return str(found["text"]) if isinstance(found, dict) and isinstance(found.get("text"), str) else answer
