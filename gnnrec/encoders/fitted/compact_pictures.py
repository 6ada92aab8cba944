"""Encoders of pictures made smaller or faster: EfficientNet-Lite0, and the classifiers of torchvision.

Letters: n pictures, d dimensions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnrec.encoders.efficientnet import (
    CPU_BATCH,
    PICTURE_SIDE,
    EfficientNetEncoder,
    EfficientNetLite0,
    scaled,
    squares,
)
from gnnrec.encoders.fitted import onnx_model
from gnnrec.encoders.fitted.bases import base_folder
from gnnrec.encoders.fitted.compact_ways import CompactConfig, smaller
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.media import JPEG_SIDE, Unreadable, grey_picture, read_image
from gnnrec.encoders.torchvision_models import PREFIX, TorchvisionEncoder, bare_network, transform_of
from gnnrec.errors import UserError, damaged

EFFICIENTNET = "efficientnet_lite0"
WEIGHTS = "model.safetensors"
MEASURED = 128  # pictures on which activations are measured


class Scaled(nn.Module):
    """EfficientNet-Lite0 over bytes. [n, 224, 224, 3] -> [n, d]"""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ready: Tensor) -> Tensor:
        return self.network(scaled(ready).to(next(self.network.parameters()).dtype))


class Flat(nn.Module):
    """A network of torchvision without its last layer. [n, 3, height, width] -> [n, d]"""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ready: Tensor) -> Tensor:
        return self.network(ready.to(next(self.network.parameters()).dtype)).flatten(1)


class CompactPictureEncoder:
    """ONNX Runtime computes on the CPU, whatever the device is."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        facts = read_facts(folder)
        assert facts is not None
        self.name, how, base = name, facts["settings"]["how"], facts["base"]
        self._prepare = prepared_by(base)
        self.picture_side = side_of(base)
        self._session: Any = None
        if how.startswith("onnx"):
            self._session = onnx_model.open_session(folder)
        else:
            self._device, self._network = device, _with_weights(base, folder / WEIGHTS).to(device)
        self.dim = self.encode([grey_picture()]).shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> Tensor:
        return self._prepare(batch)

    @torch.inference_mode()
    def forward(self, ready: Tensor) -> NDArray[np.float32]:
        return np.concatenate([self._features(some) for some in ready.split(CPU_BATCH)])  # as many as the caches hold

    def _features(self, ready: Tensor) -> NDArray[np.float32]:
        if self._session is not None:
            return onnx_model.run(self._session, {onnx_model.PICTURES: ready}, (len(ready),), self.name)
        return self._network(ready.to(self._device)).float().cpu().numpy()


def fit_pictures(corpus: Corpus, config: CompactConfig, base: str, folder: Path) -> dict[str, Any]:
    """The log is not looked at; some pictures by onnx_int8 alone, which measures activations on them."""
    network, prepare = open_network(base), prepared_by(base)
    if not config.how.startswith("onnx"):
        from safetensors.torch import save_file

        state = smaller(network, config).network.state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / WEIGHTS)
        return {"base": base}
    onnx_model.export_pictures(network, prepare([grey_picture()] * 2), folder)
    if config.how == "onnx_int8":
        onnx_model.quantize_convolutions(folder, _some(corpus, prepare, side_of(base)))
    return {"base": base}


def open_network(base: str) -> Scaled | Flat:
    """What makes features of prepared pictures, with its weights. Raises UserError for any other base."""
    if base.startswith(PREFIX):
        return Flat(TorchvisionEncoder(base, torch.device("cpu")).network).eval()
    _check(base)
    return Scaled(EfficientNetEncoder(base_folder(base), base, torch.device("cpu")).model).eval()


def side_of(base: str) -> int:
    """How small JPEGs may be decoded for the network of a base."""
    return JPEG_SIDE if base.startswith(PREFIX) else PICTURE_SIDE


def prepared_by(base: str) -> Callable[[Iterable[Any]], Tensor]:
    """What makes of pictures what the network of a base takes."""
    if base.startswith(PREFIX):
        transform = transform_of(base)
        return lambda batch: torch.stack([transform(picture) for picture in batch])
    _check(base)
    return squares


def _check(base: str) -> None:
    if base != EFFICIENTNET:
        raise UserError(
            f"encoder.base: found {base}; allowed with encoder.modality=image: {EFFICIENTNET}, {PREFIX}NAME"
        )


def _with_weights(base: str, path: Path) -> nn.Module:
    """The network of a base with the weights that `fit_pictures` wrote, as they are there."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    bare = Flat(bare_network(base)) if base.startswith(PREFIX) else Scaled(EfficientNetLite0())
    try:
        bare.network.load_state_dict(load_file(path), assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise damaged(path, error) from error
    return bare.eval().to(memory_format=torch.channels_last)


def _some(corpus: Corpus, prepare: Callable[[Iterable[Any]], Tensor], side: int) -> Iterator[Tensor]:
    """MEASURED pictures from all over the catalogue, as far as they can be read, in small batches."""
    paths = [Path(content) for content in corpus.contents if content is not None]
    pictures = []
    for path in paths[:: max(1, len(paths) // MEASURED)][:MEASURED]:
        try:
            pictures.append(read_image(path, side))
        except Unreadable:
            continue
    if not pictures:
        raise UserError("encoder.how onnx_int8: no picture can be read, and activations are measured on some")
    for start in range(0, len(pictures), CPU_BATCH):
        yield prepare(pictures[start : start + CPU_BATCH])
