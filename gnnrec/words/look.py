"""What can be measured of a picture, in words: its colours, how bright it is, how much its light and colour vary.

Letters: p pixels, c colours.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

VERSION = 1  # of the wording and of every bound here; part of the cache's key
SIDE = 64  # pixels that a picture is looked at by
COLOURS = {  # names that people agree on, by the sRGB they stand for
    **{"black": (12, 12, 12), "dark grey": (72, 72, 72), "grey": (128, 128, 128)},
    **{"light grey": (195, 195, 195), "white": (248, 248, 248)},
    **{"dark red": (115, 18, 22), "red": (215, 30, 38), "orange": (240, 130, 30), "brown": (112, 72, 42)},
    **{"beige": (222, 196, 160), "yellow": (246, 216, 50), "olive": (120, 120, 45)},
    **{"green": (55, 155, 65), "dark green": (22, 72, 38), "teal": (25, 125, 130)},
    **{"light blue": (145, 195, 232), "blue": (40, 85, 195), "dark blue": (20, 32, 88)},
    **{"purple": (112, 52, 142), "pink": (240, 150, 180)},
}
SHARE, MOST = 0.15, 3  # of the pixels that a colour has at least to be told, and how many are told at most
DARK, BRIGHT = 30.0, 65.0  # mean lightness L*, 0 to 100
FLAT, STRONG = 14.0, 30.0  # standard deviation of L*
COLOURLESS = 10.0  # chroma C* that hardly a pixel of a picture in black and white exceeds
MUTED, VIVID = 13.0, 35.0  # mean C*


def look(picture: Any) -> str:
    """A PIL picture, RGB -> such as "mostly black and dark red; dark, with strong contrasts and vivid colours"."""
    pixels = np.asarray(picture.resize((SIDE, SIDE), resample=2)).reshape(-1, 3)  # [p, 3]; 2: bilinear
    lab = to_lab(pixels)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    colourless = np.quantile(chroma, 0.98) < COLOURLESS
    names, values = list(COLOURS), to_lab(np.array(list(COLOURS.values())))
    nearest = ((lab[:, None] - values) ** 2).sum(2).argmin(1)  # [p]
    shares = np.bincount(nearest, minlength=len(names)) / len(nearest)  # [c]
    told = [names[place] for place in np.argsort(-shares, kind="stable")[:MOST] if shares[place] >= SHARE]
    light = "dark" if lightness.mean() < DARK else "bright" if lightness.mean() > BRIGHT else "of medium light"
    notes = [_side(lightness.std(), FLAT, "little contrast", STRONG, "strong contrasts")]
    if not colourless:
        notes.append(_side(chroma.mean(), MUTED, "muted colours", VIVID, "vivid colours"))
    extra = " and ".join(filter(None, notes))
    parts = [
        "black and white" if colourless else f"mostly {listed(told)}" if told else "of many colours",
        light + (f", with {extra}" if extra else ""),
    ]
    return "; ".join(parts)


def to_lab(rgb: NDArray[Any]) -> NDArray[np.float64]:
    """sRGB 0..255 -> CIE L*a*b* (white D65), in which distances are about as people see them. [p, 3]"""
    share = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    bent = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * bent[:, 1] - 16, 500 * (bent[:, 0] - bent[:, 1]), 200 * (bent[:, 1] - bent[:, 2])], axis=1)


def listed(parts: list[str]) -> str:
    """a; a and b; a, b and c; nothing of nothing."""
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _side(value: float, low: float, below: str, high: float, above: str) -> str:
    return below if value < low else above if value > high else ""
