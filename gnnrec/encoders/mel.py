"""Mel spectrograms in torch, equal to librosa.feature.melspectrogram; only the filters come from librosa."""

import torch
from torch import Tensor, nn

from gnnrec.errors import missing_extra


class MelSpectrogram(nn.Module):
    """Power in mel bands (Slaney's scale and norm), Hann window, centred frames."""

    filters: Tensor  # [bands, window / 2 + 1]
    taper: Tensor  # [window]

    def __init__(self, sampling_rate: int, *, window: int, hop: int, bands: int) -> None:
        super().__init__()
        try:
            from librosa.filters import mel
        except ImportError as error:
            raise missing_extra("audio", "librosa") from error
        self.window, self.hop = window, hop
        filters = torch.from_numpy(mel(sr=sampling_rate, n_fft=window, n_mels=bands))
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("taper", torch.hann_window(window), persistent=False)

    def forward(self, sound: Tensor) -> Tensor:
        """[samples] -> [1 + samples // hop, bands]"""
        spectrum = torch.stft(
            sound, self.window, self.hop, window=self.taper, center=True, pad_mode="constant", return_complex=True
        )
        return (self.filters @ spectrum.abs().square()).T
