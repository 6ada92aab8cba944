"""Plots that set things with names beside each other: a map of pairs, and bars with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.plots import ticks
from gnnrec.plots.draw import COLOURS, GREY, Plot

INCHES_A_BAR = 0.26


def heat_map(heading: str, finding: str, names: Sequence[str], values: NDArray[np.float64]) -> Plot:
    """A square [M, M] of values from 0 to 1, each written into its cell; NaN stays empty."""

    def draw(axes: Any) -> None:
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1.3)  # the darkest would hide its number
        for row, column in np.argwhere(np.isfinite(values)):
            value = values[row, column]
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.75 else "#16191d"
            )
        axes.set_xticks(range(len(names)), names, **(ticks.SLANTED if max(map(len, names)) > 8 else {}))
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)

    side = max(2.6, 0.8 * len(names) + 1)
    return Plot(heading=heading, finding=finding, draw=draw, size=(max(3.5, side), side))


def bars(
    heading: str,
    finding: str,
    names: Sequence[str],
    values: Sequence[float],
    label: str,
    intervals: Sequence[Sequence[float]],
    reference: float = 0.0,
    marks: Sequence[float] | None = None,
) -> Plot:
    """Lying bars from `reference`, the first on top, with [low, high] of each; `marks` are dashes across them."""

    def draw(axes: Any) -> None:
        places = np.arange(len(names))
        ends = np.array(values)
        errors = np.abs(np.array(intervals, dtype=float).T - ends)  # [2, bars]
        axes.barh(places, ends - reference, left=reference, color=COLOURS[0], height=0.66)
        axes.errorbar(ends, places, xerr=errors, fmt="none", ecolor=COLOURS[1], elinewidth=1.6, capsize=3)
        if marks is not None:
            axes.vlines(marks, places - 0.42, places + 0.42, color=COLOURS[1], linestyle=(0, (2, 2)))
        axes.axvline(reference, color=GREY, linewidth=1)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)

    return Plot(heading=heading, finding=finding, draw=draw, size=(4.6, max(2.2, INCHES_A_BAR * len(names) + 1.2)))


def search(values: Sequence[float | None], label: str) -> Plot:
    """The trials of a search in their order: what each reached, None where it came to no end, and the best so far."""
    reached = np.array([np.nan if value is None else value for value in values])
    best = np.fmax.accumulate(reached)

    def draw(axes: Any) -> None:
        numbers = np.arange(1, len(reached) + 1)
        axes.step(numbers, best, where="post", color=COLOURS[1], linewidth=1.6, label="best so far")
        axes.plot(numbers, reached, "o", color=COLOURS[0], markersize=4, label="trial")
        axes.legend(loc="best")
        axes.set_xlabel("trial")
        axes.set_ylabel(label)
        ticks.counts(axes.xaxis)

    finding = f"{np.isfinite(reached).sum()} of {len(reached)} trials came to their end; best {best[-1]:.4f}"
    return Plot(heading="Search", finding=finding, draw=draw)
