"""Any classifier of torchvision by name, as "torchvision:NAME" or "torchvision:NAME:FILE", without its last layer.

Letters: n pictures, d dimensions.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnrec.encoders.media import grey_picture
from gnnrec.errors import UserError, first_line, missing_extra
from gnnrec.files import sha256_of_file

PREFIX = "torchvision:"


class TorchvisionEncoder:
    """Pictures -> what the last linear layer would see.

    Raises UserError for a name that torchvision has not, and for weights that are not here or do not fit.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        model, _, file = name.removeprefix(PREFIX).partition(":")
        weights = _weights(model)
        path = Path(file).expanduser() if file else hub_file(weights)
        if not path.is_file():
            hint = "" if file else f": gnnrec models get {name}"
            raise UserError(f"{path}: the weights of {model} are not here{hint}")
        self.name = f"{PREFIX}{model}@{sha256_of_file(path)[:12]}"
        self._network = _headless(model, path)
        self._network.eval().to(device).to(memory_format=torch.channels_last)
        self._transform = weights.transforms()
        self._device = device
        self.dim = self.encode([grey_picture()]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> Tensor:
        """-> [n, 3, height, width]"""
        return torch.stack([self._transform(picture) for picture in batch])

    @property
    def network(self) -> nn.Module:
        """What `prepare` gives -> [n, d, ...]"""
        return self._network

    @torch.inference_mode()
    def forward(self, ready: Tensor) -> NDArray[np.float32]:
        return self._network(ready.to(self._device)).flatten(1).cpu().numpy()


def transform_of(name: str) -> Any:
    """What makes of a picture what "torchvision:NAME" sees; no weights are read."""
    return _weights(name.removeprefix(PREFIX).partition(":")[0]).transforms()


def bare_network(name: str) -> nn.Module:
    """The network of "torchvision:NAME" without its last layer, for weights that are to come."""
    network, last = _bare(name.removeprefix(PREFIX).partition(":")[0])
    _cut(network, last)
    return network


def download(name: str) -> Path:
    """Bring torchvision's own weights of "torchvision:NAME" into torch's cache. Uses the network."""
    weights = _weights(name.removeprefix(PREFIX).partition(":")[0])
    path = hub_file(weights)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The end of the file's name is the beginning of its sha256, which torch checks.
            prefix = path.stem.rsplit("-", 1)[-1]
            torch.hub.download_url_to_file(weights.url, str(path), hash_prefix=prefix)
        except (OSError, RuntimeError) as error:
            raise UserError(f"{weights.url} could not be downloaded: {error}") from error
    return path


def hub_file(weights: Any) -> Path:
    """Where torch keeps a downloaded file of weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]


def _weights(model: str) -> Any:
    """The description of torchvision's best weights of a model."""
    models = _models()
    allowed = models.list_models(module=models)
    if model not in allowed:
        raise UserError(f"torchvision has no classifier {model!r}: allowed are {', '.join(allowed)}")
    return models.get_model_weights(model).DEFAULT


def _models() -> Any:
    try:
        from torchvision import models
    except ImportError as error:
        raise missing_extra("image", "torchvision") from error
    return models


def _bare(model: str) -> tuple[nn.Module, str]:
    """A network without weights, and the name of its last linear layer."""
    options = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    try:
        with torch.device("meta"):  # no second is spent on weights that those of the file take the place of
            network: nn.Module = _models().get_model(model, weights=None, **options)
    except NotImplementedError:  # a RegNet computes with tensors while it is made
        network = _models().get_model(model, weights=None, **options)
    linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise UserError(f"torchvision's {model} does not end in a linear layer: not supported")
    return network, linear[-1]


def _cut(network: nn.Module, last: str) -> None:
    parent, _, name = last.rpartition(".")
    setattr(network.get_submodule(parent), name, nn.Identity())


def _headless(model: str, path: Path) -> nn.Module:
    network, last = _bare(model)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state, assign=True)
    except Exception as error:  # a file of weights that is none fails in many ways
        raise UserError(f"{path}: no weights of torchvision's {model}: {first_line(error)}") from error
    _cut(network, last)
    return network.float()
