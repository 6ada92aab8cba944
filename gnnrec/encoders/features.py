"""Features: what an encoder made of the content of items or users. Letters: n rows, d dimensions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

BLOCK_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Rows where `mask` is False hold zeros and are no data: the content was missing or could not be read."""

    values: NDArray[np.float32]  # [n, d]
    mask: NDArray[np.bool_]  # [n]
    encoder: str  # what made them, as recorded in a run: name or path, and revision
    rejected: Mapping[int, str] = field(default_factory=dict)  # row -> why its content could not be used

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.mask.shape != self.values.shape[:1]:
            raise ValueError(f"features: values {self.values.shape} and mask {self.mask.shape} do not fit")


def mean_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Per dimension of [n, d]. One that is the same in all rows says nothing: its scale is infinite, so that a later
    row which differs in it is not thrown far away."""
    if len(values) > BLOCK_ROWS:
        return _mean_and_scale(values)
    exact = values.double()  # float32 would leave a residue of large constants
    return _told(exact.mean(0), exact.std(0, correction=0), exact.abs().amax(0))


def _mean_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """The same of many rows, a block of them at a time, in two passes."""
    total, square, largest = torch.zeros(3, values.shape[1], dtype=torch.float64)
    for rows in values.split(BLOCK_ROWS):
        exact = rows.double()
        total += exact.sum(0)
        largest = torch.maximum(largest, exact.abs().amax(0))
    mean = total / len(values)
    for rows in values.split(BLOCK_ROWS):
        square += (rows.double() - mean).square().sum(0)
    return _told(mean, (square / len(values)).sqrt(), largest)


def _told(mean: Tensor, scale: Tensor, largest: Tensor) -> tuple[Tensor, Tensor]:
    scale[scale <= 1e-6 * largest] = torch.inf
    return mean.float(), scale.float()


class Encoder(Protocol):
    """Turns a batch of one modality's content into rows of floats; frozen, in evaluation mode."""

    name: str
    dim: int

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        """Text: strings. Image: PIL pictures, RGB. Audio: mono float32 arrays at `sampling_rate`. -> [n, d]"""


@runtime_checkable
class StagedEncoder(Encoder, Protocol):
    """An encoder in two steps, the first of which runs in other threads, beside the second of an earlier batch."""

    def prepare(self, batch: Iterable[Any]) -> Any:
        """Content as `encode` takes it -> what `forward` takes. Each content is let go before the next is asked for,
        where it is larger than what is made of it."""

    def forward(self, ready: Any) -> NDArray[np.float32]:
        """-> [n, d]; `encode` is this of what was prepared."""


@runtime_checkable
class AudioEncoder(Encoder, Protocol):
    sampling_rate: int  # of the sound it takes, in samples a second


@runtime_checkable
class SizedEncoder(Encoder, Protocol):
    """An encoder of pictures that sees little of large ones."""

    picture_side: int  # pixels: a JPEG may be decoded at a fraction of its size that leaves this many on either side


class TrainableEncoder(Encoder, Protocol):
    """One whose weights can learn; it stays in evaluation mode."""

    model: Any  # nn.Module

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, d]"""

    def save(self, folder: Path) -> None:
        """The weights as safetensors."""


def recomputed(part: Callable[..., Any], *inputs: Any) -> Any:
    """What a part of a network without chance gives. For a gradient its inner states are computed once more instead of
    kept (Chen et al. 2016, arXiv:1604.06174): those of all windows of a batch of sounds would take many gigabytes."""
    if not torch.is_grad_enabled():
        return part(*inputs)
    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)


def describe_content(features: Mapping[str, Features], owner: str) -> str:
    parts = [
        f"{modality} {int(content.mask.sum()):,} of {len(content.mask):,} ({content.encoder})"
        for modality, content in features.items()
    ]
    return f"content of {owner}: " + ", ".join(parts) if parts else ""
