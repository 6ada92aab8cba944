"""Resemblyzer: a recurrent network that tells voices apart; also a quick encoder of any sound.

Wan et al. 2018, arXiv:1710.10467; weights of github.com/resemble-ai/Resemblyzer. Its voice detector (webrtcvad, to be
compiled) is left out: silence within a clip counts. Letters: n clips, p windows of 1.6 s, t frames.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gnnrec.encoders.features import recomputed
from gnnrec.encoders.mel import MelSpectrogram
from gnnrec.files import sha256_of_file

WEIGHTS = "model.safetensors"
HOP, WINDOW, BANDS = 160, 400, 40  # 10 ms, 25 ms, mel bands (linear power, no logarithm)
FRAMES, STEP = 160, 77  # of a window of 1.6 s; 1.3 windows a second
LOUDNESS = 10 ** (-30 / 20)  # quieter clips are raised to -30 dB


class ResemblyzerEncoder:
    """Sound -> unit vectors."""

    dim = 256
    sampling_rate = 16_000

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.torch import load_file

        weights = folder / WEIGHTS
        self.name = f"{name}@{sha256_of_file(weights)[:12]}"
        self.model = VoiceNetwork()
        self.model.load_state_dict(load_file(weights))
        self.model.eval().to(device)
        self.model.lstm.train()  # cuDNN has no gradient of it otherwise; nothing in it depends on this
        self._mel = MelSpectrogram(self.sampling_rate, window=WINDOW, hop=HOP, bands=BANDS).to(device)
        self._device = device

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    @torch.no_grad()  # what is made in inference mode could not be learnt from
    def prepare(self, batch: Iterable[Any]) -> list[Tensor]:
        """Of each sound its windows, [p, t, BANDS]."""
        return [self._windows(torch.from_numpy(sound).to(self._device)) for sound in batch]

    @torch.inference_mode()
    def forward(self, ready: Sequence[Tensor]) -> NDArray[np.float32]:
        embedded = self.model(torch.cat(list(ready))).split([len(part) for part in ready])
        return _means(embedded).cpu().numpy()

    def embed(self, batch: Sequence[Any]) -> Tensor:
        """What `encode` gives, with its gradient. [n, 256]"""
        return _means([self.model(windows) for windows in self.prepare(batch)])  # one by one, for the memory

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        save_file(self.model.state_dict(), folder / WEIGHTS)

    def _windows(self, sound: Tensor) -> Tensor:
        """Overlapping windows of the spectrogram; the last counts where 3/4 of it is sound. -> [p, t, BANDS]"""
        power = sound.square().mean().sqrt()
        if power < LOUDNESS:
            sound = sound * (LOUDNESS / power)
        frames = -(-(len(sound) + 1) // HOP)
        starts = list(range(0, max(1, frames - FRAMES + STEP + 1), STEP))
        if len(starts) > 1 and len(sound) - starts[-1] * HOP < 0.75 * FRAMES * HOP:
            starts.pop()
        mel = self._mel(F.pad(sound, (0, max(0, (starts[-1] + FRAMES) * HOP - len(sound)))))
        return torch.stack([mel[start : start + FRAMES] for start in starts])


def _means(embedded: Sequence[Tensor]) -> Tensor:
    """Windows of n clips, [p, 256] each -> [n, 256]"""
    return F.normalize(torch.stack([part.mean(dim=0) for part in embedded]), dim=1)


class VoiceNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, windows: Tensor) -> Tensor:
        """[p, t, BANDS] -> [p, 256]"""
        _, (hidden, _) = recomputed(self.lstm, windows)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)
