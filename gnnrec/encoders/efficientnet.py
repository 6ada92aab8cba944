"""EfficientNet-Lite0: a small convolutional network trained on ImageNet.

Tan and Le 2019, arXiv:1905.11946, in the Lite form (no squeeze-and-excite, ReLU6) of tensorflow/tpu. Batch
normalisation is folded into the convolutions when the weights are brought (`convert.py`). Letters: n pictures.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.files import sha256_of_file

WEIGHTS = "model.safetensors"
SIZE = 224  # of the square the network sees
# A JPEG is decoded at no fewer pixels a side. What that changes is less than saving it once more at quality 85 does:
# cosine of the features .9994 beside .9983.
PICTURE_SIDE = 288
CPU_BATCH = 4  # pictures at a time whose feature maps stay in the cache of a core; 32 at a time take 1.7 times as long
# kernel, stride, expansion, channels in, channels out, repeats
STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)


class EfficientNetEncoder:
    """Pictures -> the mean of the last feature map over its places."""

    dim = 1280
    picture_side = PICTURE_SIDE

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.torch import load_file

        weights = folder / WEIGHTS
        self.name = f"{name}@{sha256_of_file(weights)[:12]}"
        self.model = EfficientNetLite0()
        self.model.load_state_dict(load_file(weights))
        self.model.eval().to(device).to(memory_format=torch.channels_last)
        self._device = device

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> Tensor:
        """-> [n, SIZE, SIZE, 3], bytes"""
        return squares(batch)

    @torch.inference_mode()
    def forward(self, ready: Tensor) -> NDArray[np.float32]:
        return self._features(ready).cpu().numpy()

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, 1280]"""
        return self._features(self.prepare(batch))

    @torch.inference_mode()
    def classify(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """The probability of each of the 1,000 classes of ImageNet. -> [n, 1000]"""
        return self.model.classifier(self.embed(batch)).softmax(dim=1).cpu().numpy()

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file({name: weight.contiguous() for name, weight in self.model.state_dict().items()}, folder / WEIGHTS)

    def _features(self, ready: Tensor) -> Tensor:
        part = CPU_BATCH if self._device.type == "cpu" else len(ready)
        pixels = scaled(ready.to(self._device))
        return torch.cat([self.model(some) for some in pixels.split(part)])  # [n, 1280]


def squares(batch: Iterable[Any]) -> Tensor:
    """PIL pictures -> [n, SIZE, SIZE, 3], bytes"""
    return torch.from_numpy(np.stack([np.asarray(centre_square(picture, SIZE)) for picture in batch]))


def scaled(ready: Tensor) -> Tensor:
    """Bytes as `squares` gives them -> [n, 3, SIZE, SIZE] in about -1..1, which is channels_last, the order in which
    CPUs convolve fastest."""
    return (ready.permute(0, 3, 1, 2).float() - 127.0) / 128.0


def centre_square(picture: Any, size: int) -> Any:
    """The largest square in the middle of a PIL picture, at size x size."""
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return picture.resize((size, size), resample=3, box=(left, top, left + side, top + side))  # 3: bicubic


class EfficientNetLite0(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, 32, 3, stride=2)
        blocks: list[nn.Module] = []
        for kernel, stride, expansion, channels_in, channels_out, repeats in STAGES:
            blocks.append(Block(kernel, stride, expansion, channels_in, channels_out))
            blocks += [Block(kernel, 1, expansion, channels_out, channels_out) for _ in range(repeats - 1)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 3, 224, 224] in about -1..1 -> [n, 1280]"""
        return _relu6(self.head(self.blocks(_relu6(self.stem(pixels))))).mean(dim=(2, 3))


def _relu6(x: Tensor) -> Tensor:
    return F.relu6(x, inplace=True)  # half the memory traffic; nothing here needs what was before


class Block(nn.Module):
    """Widen, look at each channel's neighbourhood, narrow; added to its input where the shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = nn.Conv2d(channels_in, inner, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(inner, inner, kernel, stride=stride, groups=inner)
        self.project = nn.Conv2d(inner, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        inner = _relu6(self.expand(x)) if self.expand is not None else x
        out = self.project(_relu6(self.depthwise(inner)))
        return out + x if self.residual else out


class SameConvolution(nn.Conv2d):
    """TensorFlow's padding "same": what is odd of it goes right and below."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        # With stride 1 the padding is even, and torch's own is quicker.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(channels_in, channels_out, kernel, stride=stride, groups=groups, padding=padding)
        missing = kernel - stride
        self.pad = (missing // 2, missing - missing // 2) * 2 if stride > 1 else None  # all sizes here are even

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pad) if self.pad else x)
