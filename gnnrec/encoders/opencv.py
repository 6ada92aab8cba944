"""Colour and texture of a picture by OpenCV: the plain baseline of images, with nothing learnt. Letters: n pictures."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.errors import missing_extra

SIDE = 64  # pixels of the square that is looked at
COLOURS = (8, 4, 4)  # bins of hue, saturation and value; hue is in 0..179
HALVES = 2  # the histogram is taken of the upper and of the lower half
CELL, ORIENTATIONS = 16, 9  # pixels of the side of a cell; bins of half a turn in the histogram of each cell


class OpenCVEncoder:
    """Pictures -> histograms of colour (square roots of shares) and of oriented gradients.

    The gradients are those of Dalal and Triggs 2005, but for one normalisation of the whole picture instead of one for
    each block: OpenCV 5 has their descriptor no longer.
    """

    name = "opencv:1"
    dim = HALVES * COLOURS[0] * COLOURS[1] * COLOURS[2] + (SIDE // CELL) ** 2 * ORIENTATIONS

    def __init__(self, device: torch.device) -> None:  # OpenCV runs on the CPU whatever the device
        self._cv2 = _cv2()

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        return self.forward(self.prepare(batch))

    def prepare(self, batch: Iterable[Any]) -> list[NDArray[np.uint8]]:
        """-> n of [SIDE, SIDE, 3]"""
        cv2 = self._cv2
        return [cv2.resize(np.asarray(picture), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in batch]

    def forward(self, ready: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([self._describe(small) for small in ready])

    def _describe(self, small: NDArray[np.uint8]) -> NDArray[np.float32]:
        cv2 = self._cv2
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        ranges = [0, 180, 0, 256, 0, 256]
        halves = np.split(hsv, HALVES)
        counts = [cv2.calcHist([half], [0, 1, 2], None, COLOURS, ranges).ravel() for half in halves]
        colour = np.sqrt(np.concatenate(counts) / (SIDE * SIDE / HALVES))
        return np.concatenate([colour, self._gradients(small)]).astype(np.float32)

    def _gradients(self, small: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Lengths of the gradients by cell and orientation, as a whole of length 1. [cells * ORIENTATIONS]"""
        cv2 = self._cv2
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3), cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3)
        turn = np.arctan2(down, across) % np.pi / np.pi  # [SIDE, SIDE] 0..1
        bins = np.minimum((turn * ORIENTATIONS).astype(np.int64), ORIENTATIONS - 1)
        row, column = np.indices(grey.shape) // CELL
        place = ((row * (SIDE // CELL) + column) * ORIENTATIONS + bins).ravel()
        size = (SIDE // CELL) ** 2 * ORIENTATIONS
        found = np.bincount(place, np.hypot(across, down).ravel(), minlength=size).astype(np.float32)
        return found / max(float(np.linalg.norm(found)), 1e-6)


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("image", "opencv-python-headless") from error
    return cv2
