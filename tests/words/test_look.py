"""What is said of a picture is what was painted."""

import numpy as np
import pytest
from PIL import Image

from gnnrec.words.look import COLOURS, listed, look, to_lab


def painted(*parts: tuple[tuple[int, int, int], float]) -> Image.Image:
    """Vertical stripes of a colour and its share."""
    columns = [colour for colour, share in parts for _ in range(round(200 * share))]
    return Image.fromarray(np.tile(np.array(columns, dtype=np.uint8)[None], (90, 1, 1)))


def test_lab_of_known_colours() -> None:
    # CIE L*a*b* of sRGB under D65, as colour tables give them.
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.2, 80.1, 67.2), (0, 0, 255): (32.3, 79.2, -107.9)}
    for rgb, lab in known.items():
        assert to_lab(np.array([rgb]))[0] == pytest.approx(lab, abs=0.15)


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_has_its_name(name: str) -> None:
    said = look(painted((COLOURS[name], 1.0)))
    grey = name in ("black", "white") or "grey" in name
    assert said.startswith("black and white;" if grey else f"mostly {name};")
    assert "little contrast" in said


def test_shares_light_and_contrast() -> None:
    red, black, white = COLOURS["red"], COLOURS["black"], COLOURS["white"]
    assert look(painted((black, 0.6), (red, 0.3), (white, 0.1))).startswith("mostly black and red; ")
    assert look(painted((black, 0.9), (red, 0.1))).startswith("mostly black; dark")
    assert look(painted((white, 0.8), (red, 0.2))).startswith("mostly white and red; bright")
    assert look(painted((white, 0.5), (black, 0.5))) == "black and white; of medium light, with strong contrasts"
    assert "vivid colours" in look(painted((red, 1.0)))
    assert "muted colours" in look(painted(((120, 110, 100), 0.9), (red, 0.05)))


def test_a_spot_of_colour_is_not_black_and_white() -> None:
    assert look(painted((COLOURS["white"], 0.95), (COLOURS["red"], 0.05))).startswith("mostly white; bright")


def test_lists_are_english() -> None:
    assert [listed(list(part)) for part in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
