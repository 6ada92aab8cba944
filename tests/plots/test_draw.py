import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from gnnrec import plots
from gnnrec.plots.draw import COLOURS, GREY, MAX_POINTS
from gnnrec.plots.project import main_directions, project
from gnnrec.plots.render import PAGE_COLOURS


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def points(path):
    """The corners [n, 2] of an SVG path."""
    return np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", path), dtype=float)


def line_of(svg, colour):
    """The corners of the longest line in one colour."""
    lines = re.findall(rf'<path d="([^"]*)"[^>]*style="fill: none; [^"]*stroke: {colour}[;"]', svg)
    return max((points(line) for line in lines), key=len)


def test_the_long_tail_shows_shares_at_their_ranks():
    popularity = np.array([1, 1000, 10, 100])  # in no order; ranks 1 to 4 in bins of their own
    line = line_of(plots.svg(plots.long_tail(popularity, np.array([5, 5, 5, 5]))), GREY)
    assert len(line) == 4
    # Each share is a tenth of the one before: equal steps on a logarithmic axis; y grows downwards in SVG.
    assert np.diff(line[:, 1]) == pytest.approx([np.diff(line[:, 1])[0]] * 3, rel=1e-3)
    assert np.all(np.diff(line[:, 1]) > 0)
    assert (line[1:, 0] - line[0, 0]) / (line[3, 0] - line[0, 0]) == pytest.approx(
        np.log([2, 3, 4]) / np.log(4), rel=1e-3
    )
    flat = line_of(plots.svg(plots.long_tail(popularity, np.array([5, 5, 5, 5]))), COLOURS[0])
    assert np.ptp(flat[:, 1]) < 0.01


def test_the_training_curves_follow_their_values_and_mark_the_best():
    log = [
        {"epoch": 1, "loss": 3.0, "ndcg@10": 0.1},
        {"epoch": 2, "loss": 2.0, "ndcg@10": 0.3},
        {"epoch": 3, "loss": 1.5},
        {"epoch": 4, "loss": 1.0, "ndcg@10": 0.2},
    ]
    loss, validation = plots.training_curves(log, "ndcg@10", "NDCG")
    assert len(line_of(plots.svg(loss), COLOURS[0])) == 4
    drawn = plots.svg(validation)
    line = line_of(drawn, COLOURS[0])
    assert np.diff(line[:, 0])[1] / np.diff(line[:, 0])[0] == pytest.approx(2, rel=1e-3)
    assert -np.diff(line[:, 1])[0] / np.diff(line[:, 1])[1] == pytest.approx(2, rel=1e-3)
    assert validation.finding.endswith("kept: epoch 2, 0.3000")
    assert line_of(drawn, COLOURS[1])[:, 0] == pytest.approx([line[1, 0]] * 2, abs=0.01)
    assert plots.training_curves([], "ndcg@10", "NDCG") == []


def test_the_embedding_map_names_the_frequent_labels():
    vectors = np.random.default_rng(0).normal(size=(70, 5)).astype(np.float32)
    labels = [f"$l{row % 7}$" for row in range(69)] + [None]  # seven labels, six colours; the last one is less frequent
    named = words(plots.svg(plots.embedding_map(vectors, labels)))
    assert [name for name in named if name.startswith("$")] == [f"$l{number}$" for number in range(6)]
    assert "other" in named


def test_a_large_map_is_thinned_out_and_repeatable():
    vectors = np.random.default_rng(0).normal(size=(MAX_POINTS + 2000, 3)).astype(np.float32)
    drawn = plots.svg(plots.embedding_map(vectors, ["a"] * len(vectors)))
    assert drawn == plots.svg(plots.embedding_map(vectors, ["a"] * len(vectors)))
    assert len(drawn) < 1_000_000


def test_findings_by_hand():
    # 6 of 12, and 4 + 3 of 12.
    assert plots.long_tail(np.array([2, 1, 3, 6])).finding == "1 of 4 items have half of the interactions"
    assert plots.long_tail(np.array([2, 4, 3, 3])).finding == "2 of 4 items have half of the interactions"
    assert plots.activity(np.array([0, 1, 3, 1000])).finding == "the median user has 3 interactions"
    bars = [{"rating": "1", "rows": 5}, {"rating": "2", "rows": 9}]
    assert plots.ratings(bars).finding == "the most frequent one is 2"
    assert plots.time_line(np.array([0, 86_400 * 3])).finding == "1970-01-01 to 1970-01-04"


def test_plots_take_the_colours_of_the_page_and_leave_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    drawn = plots.svg(plots.long_tail(np.array([0, 1, 1, 5, 200]), np.array([1, 1, 1, 1, 1])))
    assert drawn.startswith("<svg")
    assert "currentColor" in drawn and "var(--line)" in drawn and "var(--muted)" in drawn
    assert not any(colour in drawn for colour in PAGE_COLOURS)
    assert dict(matplotlib.rcParams) == before


def test_a_png_is_written_whole_and_titles_are_no_formulas(tmp_path):
    plot = replace(plots.activity(np.array([1, 5, 200])), heading="$a$ 书籍", finding="$x^{ " * 30)
    assert plots.save_png(plot, tmp_path / "deep" / "a.png") == tmp_path / "deep" / "a.png"
    with Image.open(tmp_path / "deep" / "a.png") as image:
        assert image.size == (840, 624)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.png"]


@pytest.mark.parametrize("values", [np.zeros(3, dtype=np.int64), np.array([7]), np.array([], dtype=np.int64)])
def test_degenerate_input_still_draws(values):
    assert plots.svg(plots.activity(values)).startswith("<svg")
    if len(values):
        assert plots.svg(plots.long_tail(values, np.zeros_like(values))).startswith("<svg")


def test_bars_start_at_the_reference_and_end_at_their_values():
    names = ["text", "image", "audio"]
    intervals = [[0.7, 0.9], [0.5, 0.5], [0.2, 0.4]]
    plot = plots.bars("Taken together", "AUC", names, [0.8, 0.5, 0.3], "AUC", intervals, 0.5, marks=[0.5, 0.6, 0.7])
    drawn = plots.svg(plot)
    assert {*names, "AUC"} <= set(words(drawn))
    boxes = [points(box) for box in re.findall(rf'<path d="([^"]*)"[^>]*style="fill: {COLOURS[0]}', drawn)]
    left, right = (np.array([function(box[:, 0]) for box in boxes]) for function in (np.min, np.max))
    start = left[0]  # the first bar goes right from the reference, the second is empty, the third goes left
    assert [right[1], left[1], right[2]] == pytest.approx([start] * 3, abs=0.01)
    assert (right[0] - start) / (start - left[2]) == pytest.approx(0.3 / 0.2, rel=1e-2)
    assert boxes[0][:, 1].max() < boxes[1][:, 1].min()  # the first on top; y grows downwards


def test_the_map_writes_its_values_and_leaves_what_is_not_known_empty():
    drawn = plots.svg(plots.heat_map("Agreement", "CKA", ["a", "b"], np.array([[1.0, 0.25], [np.nan, 1.0]])))
    assert [word for word in words(drawn) if "." in word] == ["1.00", "0.25", "1.00"]


def test_lorenz_is_the_share_of_the_least_frequent():
    plot = plots.lorenz(np.array([6, 0, 2, 2]), np.array([1, 1, 1, 1]))
    drawn = plots.svg(plot)
    interactions, lists = line_of(drawn, GREY), line_of(drawn, COLOURS[0])
    height = interactions[0, 1] - interactions[-1, 1]
    # Least frequent first: 0, 2, 2 and 6 of ten; equal counts give the diagonal.
    assert (interactions[0, 1] - interactions[:, 1]) / height == pytest.approx([0, 0, 0.2, 0.4, 1], abs=1e-3)
    assert (lists[0, 1] - lists[:, 1]) / height == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-3)
    # Half the mean difference of all pairs over the mean: (6 + 4 + 4 + 2 + 2 + 0) * 2 / 16 / 2 / 2.5 = 0.45.
    assert plot.finding == "interactions: Gini 0.45; recommended lists: Gini 0.00"


def test_a_search_shows_the_best_so_far():
    plot = plots.search([0.1, None, 0.3, 0.2], "NDCG")
    assert plot.finding == "3 of 4 trials came to their end; best 0.3000"
    heights = line_of(plots.svg(plot), COLOURS[1])[:, 1]
    assert len(np.unique(heights)) == 2 and heights[0] > heights[-1]  # two steps, upwards


def test_the_projection_keeps_groups_together():
    random = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 12)
    vectors = (random.normal(size=(3, 10))[group] + 0.05 * random.normal(size=(36, 10))).astype(np.float32)
    points = project(vectors)
    assert points.min(0).tolist() == [0, 0] and points.max(0).tolist() == [1, 1]
    distance = np.linalg.norm(points[:, None] - points[None], axis=2) + 9 * np.eye(36)
    assert np.array_equal(group[distance.argmin(1)], group)
    assert np.array_equal(project(vectors), points)
    assert project(vectors[:5]).shape == (5, 2)
    assert project(vectors[:3, :1]).shape == (3, 2)
    assert project(vectors[:1]).tolist() == [[0, 0]]
    assert np.array_equal(main_directions(vectors[:5]), project(vectors[:5]))  # too few for neighbourhoods
    flat = np.array([[3, 0], [3, 1], [3, 2], [3, 8]], dtype=np.float32)
    order = main_directions(np.pad(flat, ((0, 0), (0, 4))))[:, 0].argsort().tolist()
    assert order in ([0, 1, 2, 3], [3, 2, 1, 0])
