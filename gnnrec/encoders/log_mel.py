"""Statistics of a log-mel spectrogram: the plain baseline of sound, with nothing learnt. Letters: n clips, t frames."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec.encoders.mel import MelSpectrogram

WINDOW, HOP, BANDS = 1024, 320, 64  # 64 ms, 20 ms at 16 kHz
FLOOR = 1e-6  # power below which all is silence


class LogMel(MelSpectrogram):
    """Natural logarithm of the power in BANDS mel bands."""

    def __init__(self, sampling_rate: int) -> None:
        super().__init__(sampling_rate, window=WINDOW, hop=HOP, bands=BANDS)

    def forward(self, sound: Tensor) -> Tensor:
        """[samples] -> [t, BANDS]"""
        return (super().forward(sound) + FLOOR).log()


class LogMelEncoder:
    """Sound -> of each band the mean, the deviation, and the mean change from frame to frame. [n, 3 * BANDS]"""

    name = "log_mel:1"
    dim = 3 * BANDS
    sampling_rate = 16_000

    def __init__(self, device: torch.device) -> None:
        self._mel, self._device = LogMel(self.sampling_rate).to(device), device

    @torch.inference_mode()
    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return np.stack([self._statistics(self._mel(torch.from_numpy(sound).to(self._device))) for sound in batch])

    def _statistics(self, frames: Tensor) -> NDArray[np.float32]:
        change = frames.diff(dim=0).abs().mean(0) if len(frames) > 1 else torch.zeros_like(frames[0])
        return torch.cat([frames.mean(0), frames.std(0, correction=0), change]).cpu().numpy()
