"""Numbers and names along the axes: written as people write them, and never on top of each other."""

import math
from itertools import pairwise
from typing import Any

GAP = 0.6  # between two of them, in heights of the text
LINE = 1.4  # height of a line of text, in the same
SLANTED: dict[str, Any] = {"rotation": 45, "rotation_mode": "anchor", "ha": "right"}  # long names, each up to its place
NARROW, WIDE = 1.0, 2.5  # powers of ten: below there are round numbers, up to there 1, 2 and 5, beyond 1 alone


def plain(value: float, place: int = 0) -> str:
    """1500 -> 1,500; 2500000 -> 2.5M; .05 -> 0.05. `place` among the ticks: for matplotlib, which tells it."""
    return f"{value / 1e6:,g}M" if abs(value) >= 1e6 else f"{value:,g}"


def counts(axis: Any) -> None:
    """Whole numbers on an axis that is not logarithmic."""
    from matplotlib.ticker import FuncFormatter

    axis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # also where there is one alone
    axis.set_major_formatter(FuncFormatter(plain))


def logarithmic(axis: Any, whole: bool = False) -> None:
    """1,000 instead of 10^3, and some numbers also where the axis is shorter than from one power of ten to the next.

    Once its limits are set. whole: there are no fractions.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = sorted(axis.get_view_interval())
    powers = math.log10(high / low)
    round_numbers = MaxNLocator(4, steps=(1, 2, 5, 10), integer=whole, min_n_ticks=1)
    axis.set_major_locator(round_numbers if powers < NARROW else LogLocator(subs=(1, 2, 5) if powers < WIDE else (1,)))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_formatter(NullFormatter())


def thin_out(axes: Any) -> None:
    """Of an axis whose labels would touch, leave every second, third … one alone. Once the figure has been drawn."""
    from matplotlib.ticker import FixedFormatter

    for axis, along in ((axes.xaxis, 0), (axes.yaxis, 1)):
        low, high = sorted(axis.get_view_interval())
        labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels())
        shown = [(place, label) for place, label in labels if low <= place <= high and label.get_text()]
        ends = [_ends(axes, along, place, label) for place, label in shown]
        step = 1
        while any(second[0] < first[1] for first, second in pairwise(sorted(ends[::step]))):
            step += 1
        if step > 1:
            zero = next((position for position, (place, _) in enumerate(shown) if place == 0), 0)
            kept = shown[zero % step :: step]
            names = [label.get_text() for _, label in kept]
            named = isinstance(axis.get_major_formatter(), FixedFormatter)
            axis.set_ticks([place for place, _ in kept], names if named else None)


def _ends(axes: Any, along: int, place: float, label: Any) -> tuple[float, float]:
    """From where to where a label and the gap behind it reach along its axis, in pixels."""
    height = label.get_fontsize() * axes.figure.dpi / 72
    if label.get_rotation():  # it is beside the next one, however long both are
        middle = axes.transData.transform((place, place))[along]
        half = LINE * height / math.sin(math.radians(label.get_rotation())) / 2
        return middle - half, middle + half
    box = label.get_window_extent()
    start, end = (box.x0, box.x1) if along == 0 else (box.y0, box.y1)
    return start, end + GAP * height * (along == 0)
