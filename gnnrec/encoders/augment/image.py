"""Pictures: crop, rotation, flip, colour. Each (PIL RGB picture, strength, random) -> PIL RGB of the same size.

By the functions behind torchvision.transforms.v2: its classes draw from torch's global state, here the amounts are
drawn from `random`.
"""

import math
from typing import Any

import numpy as np
from numpy.random import Generator

from gnnrec.errors import missing_extra

MOST_RATIO = math.log(4 / 3)  # log of how far a crop may be narrower or wider, as in RandomResizedCrop
HUE = 0.25  # of the strength of the other colours, as in SimCLR (Chen et al. 2020, appendix A)


def crop(picture: Any, strength: float, random: Generator) -> Any:
    """A part of at least 1 - strength of the area, brought back to the old size (Szegedy et al. 2015).

    Deviation: the proportions vary with the strength, so that little of it changes little.
    """
    transforms = _transforms()
    share = 1 - random.uniform(0, strength)
    ratio = math.exp(random.uniform(-MOST_RATIO, MOST_RATIO) * strength)
    ratio = min(max(ratio, share), 1 / share)  # no side is longer than the picture's
    width = max(round(picture.width * math.sqrt(share * ratio)), 1)
    height = max(round(picture.height * math.sqrt(share / ratio)), 1)
    left, top = (int(random.integers(0, room + 1)) for room in (picture.width - width, picture.height - height))
    size = [picture.height, picture.width]
    return transforms.resized_crop(picture, top, left, height, width, size, antialias=True)


def rotation(picture: Any, strength: float, random: Generator) -> Any:
    """Turned by up to `strength` degrees about the middle; corners take the mean colour."""
    return rotated(picture, random.uniform(-strength, strength))


def flip(picture: Any, strength: float, random: Generator) -> Any:
    """Left for right, with the probability `strength`."""
    return mirrored(picture) if random.random() < strength else picture


def colour(picture: Any, strength: float, random: Generator) -> Any:
    """Brightness, contrast and saturation times 1 - strength to 1 + strength each; hue turned by up to a quarter of
    `strength` of the colour wheel (Howard 2013). Deviation: always in this order."""
    transforms = _transforms()
    for change in (transforms.adjust_brightness, transforms.adjust_contrast, transforms.adjust_saturation):
        picture = change(picture, 1 + random.uniform(-strength, strength))
    return transforms.adjust_hue(picture, random.uniform(-strength, strength) * HUE)


def rotated(picture: Any, degrees: float) -> Any:
    """Counter-clockwise."""
    mean = [int(value) for value in np.asarray(picture).reshape(-1, 3).mean(0).round()]
    transforms = _transforms()
    return transforms.rotate(picture, degrees, interpolation=_bilinear(), fill=mean)


def mirrored(picture: Any) -> Any:
    return _transforms().horizontal_flip(picture)


def _transforms() -> Any:
    try:
        from torchvision.transforms.v2 import functional
    except ImportError as error:
        raise missing_extra("image", "torchvision") from error
    return functional


def _bilinear() -> Any:
    from torchvision.transforms import InterpolationMode

    return InterpolationMode.BILINEAR
