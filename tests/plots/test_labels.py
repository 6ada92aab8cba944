"""Numbers and names along the axes as a browser draws them: there are some, each is whole, and none lies on another."""

import re

import numpy as np
import pytest

from gnnrec import plots
from gnnrec.plots.ticks import plain

RANDOM = np.random.default_rng(0)
CORNERS = """svg => {
  const whole = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].map((text) => {
    const { x, y, width, height } = text.getBBox(), matrix = text.getScreenCTM();
    const corners = [[x, y], [x + width, y], [x + width, y + height], [x, y + height]];
    return [text.textContent, corners.map(([a, b]) => {
      const point = new DOMPoint(a, b).matrixTransform(matrix);
      return [point.x - whole.x, point.y - whole.y];
    }), [whole.width, whole.height]];
  });
}"""


def rated(names) -> list[dict]:
    return [{"rating": name, "rows": 10 + place} for place, name in enumerate(names)]


LOG_OF_MANY = RANDOM.zipf(1.4, 200_000) % 900_000
CASES = {
    "few items": plots.long_tail(np.array([9, 8, 7, 5, 4, 4, 3])),
    "many items": plots.long_tail(LOG_OF_MANY, RANDOM.zipf(1.5, 200_000) % 90_000),
    "within a power of ten": plots.activity(RANDOM.integers(20, 70, 600)),
    "a few and a dozen": plots.activity(RANDOM.integers(5, 13, 60)),
    "hundreds of thousands": plots.activity(RANDOM.integers(200_000, 300_000, 3000)),
    "six powers of ten": plots.activity(LOG_OF_MANY),
    "ten ratings": plots.ratings(rated(f"{half / 2:g}" for half in range(1, 11))),
    "forty ratings": plots.ratings(rated(map(str, range(1, 41)))),
    "long ratings": plots.ratings(rated(f"{number / 7:.4f}" for number in range(1, 31))),
    "bins of ratings": plots.ratings(rated(f"{low:g} to {low + 1234.5:g}" for low in np.arange(10) * 1234.5)),
    "twenty years": plots.time_line(np.linspace(8e8, 1.6e9, 500).astype(np.int64)),
    "one minute": plots.time_line(np.linspace(1.6e9, 1.6e9 + 60, 50).astype(np.int64)),
    "long bars": plots.bars("Worth", "", ["text", "image"], [123_456.7, -99_999.0], "falls by", [[0, 1e5]] * 2),
    "names": plots.heat_map("Agree", "", ["text", "image", "audio_whisper_large"], RANDOM.random((3, 3))),
    "epochs": plots.training_curve("Loss", "", range(1, 20_001), np.ones(20_000).tolist(), "loss"),
}


def apart(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether a line can be drawn between two rectangles [4, 2], which may lie askew, a hair's breadth aside."""
    for corners in (first, second):
        for side in np.diff(np.vstack([corners, corners[:1]]), axis=0)[:2]:
            direction = np.array([-side[1], side[0]]) / max(np.hypot(*side), 1e-9)
            one, other = first @ direction, second @ direction
            if one.max() <= other.min() + 0.5 or other.max() <= one.min() + 0.5:
                return True
    return False


@pytest.mark.parametrize("case", CASES)
def test_no_label_lies_on_another_or_sticks_out(browser, case):
    page = browser.new_page(viewport={"width": 360, "height": 700})
    page.set_content(f"<body style='margin: 0; font-family: sans-serif'>{plots.svg(CASES[case])}</body>")
    labels = [
        (text, np.array(corners), size) for text, corners, size in page.locator("svg").evaluate(CORNERS) if text.strip()
    ]
    page.close()
    touching = [
        (text, other)
        for place, (text, corners, _) in enumerate(labels)
        for other, others, _ in labels[:place]
        if not apart(corners, others)
    ]
    assert touching == []
    for text, corners, size in labels:
        assert corners.min() >= -1 and np.all(corners.max(0) <= np.array(size) + 1), text


@pytest.mark.parametrize(
    ("counts", "numbers"),
    [
        (np.arange(20, 70), {"20", "40", "60"}),
        (np.arange(5, 13), {"6", "8", "10"}),
        (np.array([9, 9, 9]), {"9", "10"}),
        (np.arange(1, 95), {"1", "2", "5", "10", "20", "50"}),
        (np.array([1, 40_000, 2_500_000]), {"100", "10,000", "1M"}),
    ],
)
def test_a_logarithmic_axis_has_numbers_however_short_or_long_it_is(counts, numbers):

    drawn = plots.svg(plots.activity(counts))
    axis = drawn[drawn.index('id="', drawn.index("matplotlib.axis_1") - 20) : drawn.index("matplotlib.axis_2")]
    assert numbers <= set(re.findall(r"<text[^>]*>([^<]*)</text>", axis))


def test_zero_is_among_the_numbers_that_are_left():
    names = ["image, with all others (p 1.000)", "text, alone (p 0.588)"]
    intervals = [[-0.0045, 0.0105], [-0.0075, 0.0155]]
    drawn = plots.svg(plots.bars("Worth", "", names, [0.003, 0.006], "difference of NDCG@10", intervals))
    axis = drawn[drawn.index("matplotlib.axis_1") : drawn.index("matplotlib.axis_2")]
    assert {"0.00", "0.000"} & set(re.findall(r"<text[^>]*>([^<]*)</text>", axis))


def test_numbers_are_written_as_people_write_them():
    assert [plain(value) for value in (0.05, 1, 1500, 999_999, 2_500_000, -3e6)] == [
        *("0.05", "1", "1,500", "999,999", "2.5M", "-3M")
    ]
