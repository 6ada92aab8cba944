import re

import numpy as np
import pytest

from gnnrec.report import plots


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def points(path):
    """The corners [n, 2] of an SVG path."""
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float)


def bars_of(svg, colour):
    """Lengths of the lying bars in one colour, from top to bottom; the squares of the legend are short."""
    shapes = [points(path) for path in re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {colour}"', svg)]
    bars = [shape for shape in shapes if np.ptp(shape[:, 0]) > 12]
    return [np.ptp(shape[:, 0]) for shape in sorted(bars, key=lambda shape: shape[:, 1].min())]


def line_of(svg, colour):
    """The corners of the longest line in one colour."""
    lines = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: none; stroke: {colour}[;"]', svg)
    return max((points(line) for line in lines), key=len)


def test_bars_are_as_long_as_their_values():
    svg = plots.bars({"a": {"one": 0.2, "two": 0.4}, "b": {"one": 0.1, "two": float("nan")}}, "share")
    (a_one, b_one), (a_two,) = bars_of(svg, plots.COLOURS[0]), bars_of(svg, plots.COLOURS[1])
    assert a_one / b_one == pytest.approx(2, rel=1e-3)
    assert a_two / a_one == pytest.approx(2, rel=1e-3)
    assert {"0.200", "0.400", "0.100", "one", "two", "a", "b"} <= set(words(svg))
    assert "nan" not in svg


def test_the_long_tail_shows_shares_at_their_ranks():
    popularity = np.array([1, 1000, 10, 100])  # in no order; ranks 1 to 4 in bins of their own
    line = line_of(plots.long_tail(popularity, np.array([5, 5, 5, 5])), plots.GREY)
    assert len(line) == 4
    # Each share is a tenth of the one before: equal steps on a logarithmic axis; y grows downwards in SVG.
    assert np.diff(line[:, 1]) == pytest.approx([np.diff(line[:, 1])[0]] * 3, rel=1e-3)
    assert np.all(np.diff(line[:, 1]) > 0)
    assert (line[1:, 0] - line[0, 0]) / (line[3, 0] - line[0, 0]) == pytest.approx(
        np.log([2, 3, 4]) / np.log(4), rel=1e-3
    )
    flat = line_of(plots.long_tail(popularity, np.array([5, 5, 5, 5])), plots.COLOURS[0])
    assert np.ptp(flat[:, 1]) < 0.01


def test_the_training_curve_follows_its_values_and_marks_the_best():
    svg = plots.training_curve([1, 2, 4], [0.1, 0.3, 0.2], "NDCG", best=2)
    line = line_of(svg, plots.COLOURS[0])
    assert np.diff(line[:, 0])[1] / np.diff(line[:, 0])[0] == pytest.approx(2, rel=1e-3)
    assert -np.diff(line[:, 1])[0] / np.diff(line[:, 1])[1] == pytest.approx(2, rel=1e-3)
    assert "kept: epoch 2, 0.3000" in words(svg)


def test_the_embedding_map_names_the_frequent_labels():
    vectors = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    labels = [f"$l{row % 7}$" for row in range(69)] + [None]  # seven labels, six colours; the last one is less frequent
    named = words(plots.embedding_map(vectors, labels))
    assert [name for name in named if name.startswith("$")] == [f"$l{number}$" for number in range(6)]
    assert "other" in named


def test_a_large_map_is_thinned_out_and_repeatable():
    vectors = np.random.default_rng(0).normal(size=(plots.MAX_POINTS + 2000, 3)).astype(np.float32)
    svg = plots.embedding_map(vectors, ["a"] * len(vectors))
    assert svg == plots.embedding_map(vectors, ["a"] * len(vectors))
    assert len(svg) < 1_000_000


def test_plots_take_the_colours_of_the_page_and_leave_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    svg = plots.histogram(np.array([0, 1, 1, 5, 200]), "interactions", "users")
    assert svg.startswith("<svg")
    assert "currentColor" in plots.bars({"a": {"x": 1.0}}, "y")
    assert "var(--line)" in svg
    assert not any(colour in svg for colour in plots.PAGE_COLOURS)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("values", [np.zeros(3, dtype=np.int64), np.array([7]), np.array([], dtype=np.int64)])
def test_degenerate_input_still_draws(values):
    assert plots.histogram(values, "x", "y").startswith("<svg")
    if values.any():
        assert plots.long_tail(values, np.zeros_like(values)).startswith("<svg")
