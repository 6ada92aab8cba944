"""Numbers along the training curves: whole, told apart, and those of the log, however small, large or close."""

from itertools import pairwise

import pytest

LOSSES = {
    "tiny": [2.4e-7, 1.9e-7, 1.1e-7],
    "huge": [123_456_789.0, 120_000_000.0, 111_111_111.0],
    "close": [5.98713, 5.98721, 5.98732],
    "plain": [7.25, 6.5, 5.9],
    "negative": [-0.5, -120.0, -1999.0],
    "all the same": [3.25, 3.25, 3.25],
}


@pytest.mark.parametrize("curve_site", LOSSES.values(), ids=LOSSES, indirect=True)
@pytest.mark.parametrize("width", [1280, 360])
def test_numbers_of_a_curve_are_whole_and_told_apart(visit, curve_site, width):
    url, losses = curve_site
    page = visit(url=url, viewport={"width": width, "height": 800}).go("training", ".chart")
    chart = page.locator(".chart svg")
    box, labels = chart.bounding_box(), chart.locator("text[text-anchor=end]")
    texts = labels.all_text_contents()
    for label in labels.all():
        where = label.bounding_box()
        assert where["x"] >= box["x"] and where["x"] + where["width"] < box["x"] + box["width"] / 2
    values = [float(text) for text in texts]
    assert len(set(texts)) == len(texts) and values == sorted(values)
    if min(losses) == max(losses):
        assert values == [losses[0]]
    else:
        assert 2 <= len(values) <= 6 and min(losses) <= values[0] < values[-1] <= max(losses)
        steps = [after - before for before, after in pairwise(values)]
        assert steps == pytest.approx([steps[0]] * len(steps), rel=1e-3)
