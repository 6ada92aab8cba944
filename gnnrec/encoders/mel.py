"""What is taken from librosa: resampling, tempo and brightness, and the filters of mel spectrograms, made in torch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gnnrec.errors import missing_extra


def resample(sound: NDArray[np.float32], rate: int, target: int) -> NDArray[np.float32]:
    """Mono sound at another number of samples a second, by soxr in high quality."""
    return np.ascontiguousarray(_librosa().resample(sound, orig_sr=rate, target_sr=target), dtype=np.float32)


def tempo(sound: NDArray[np.float32], rate: int) -> float:
    """Beats a minute, by the autocorrelation of onsets; an octave off where the metre leaves it open."""
    return float(_librosa().feature.tempo(y=sound, sr=rate)[0])


def centroid(sound: NDArray[np.float32], rate: int) -> float:
    """The mean frequency of the spectrum in Hz, over frames: low for dark sound, high for bright."""
    return float(_librosa().feature.spectral_centroid(y=sound, sr=rate).mean())


class MelSpectrogram(nn.Module):
    """Power in mel bands (Slaney's scale and norm), Hann window, centred frames, as librosa.feature.melspectrogram."""

    filters: Tensor  # [bands, window / 2 + 1]
    taper: Tensor  # [window]

    def __init__(self, sampling_rate: int, *, window: int, hop: int, bands: int) -> None:
        super().__init__()
        self.window, self.hop = window, hop
        filters = torch.from_numpy(_librosa().filters.mel(sr=sampling_rate, n_fft=window, n_mels=bands))
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """[samples] -> [1 + samples // hop, bands]"""
        spectrum = torch.stft(
            sound, self.window, self.hop, window=self.taper, center=True, pad_mode="constant", return_complex=True
        )
        return (self.filters @ spectrum.abs().square()).T


def _librosa() -> Any:
    try:
        import librosa
    except ImportError as error:
        raise missing_extra("audio", "librosa") from error
    return librosa
