"""Contact sheets: one thing a row, one way of changing it a column. Cells hold pictures, spectrograms or words."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnnrec.plots.draw import COLOURS, GREY, Plot

GAP = 0.09  # inches between cells
NAME_WIDTH = 1.45  # inches of the column of titles
LETTERS = 15.5  # that stand on an inch, in text of SMALL points
SMALL, LINE = 7.5, 0.13  # points; inches of a line
CELL = {"image": (1.0, 1.35), "audio": (1.75, 1.05), "text": (2.15, 0.0)}  # inches; a text is as high as it needs
RANGE = 80.0  # dB below the loudest place of the original that a spectrogram shows


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    note: str = ""  # in small letters below it


def contact_sheet(
    heading: str, finding: str, kind: str, columns: Sequence[Column], rows: Mapping[str, Sequence[Any]]
) -> Plot:
    """rows: title -> a cell for each column: PIL pictures, spectrograms in dB [frames, bands], or texts.

    kind: image | audio | text. Spectrograms of a row share one scale, that of its first cell.
    """
    width, height = CELL[kind]
    wrapped = {title: [_wrap(cell, width) for cell in cells] for title, cells in rows.items() if kind == "text"}
    names = {
        title: textwrap.fill(title, int(NAME_WIDTH * LETTERS * 0.9), max_lines=4, placeholder=" …") for title in rows
    }
    heights = [
        max(height, *(LINE * (1 + part.count("\n")) for part in (*wrapped.get(title, ()), names[title])))
        for title in rows
    ]
    tops = np.cumsum([0.6 if kind == "text" else 0.45, *(one + GAP * (3 if kind == "text" else 1) for one in heights)])
    total = NAME_WIDTH + len(columns) * (width + GAP)

    def draw(axes: Any) -> None:
        for place, column in enumerate(columns):
            left = NAME_WIDTH + place * (width + GAP)
            axes.text(left, 0.14, column.name, weight="bold", fontsize=SMALL + 1, va="center")
            axes.text(left, 0.31, column.note, fontsize=SMALL - 0.5, va="center", color=GREY)
        for title, top, high in zip(rows, tops, heights):
            axes.text(0, top, names[title], fontsize=SMALL, va="top")
            for place, cell in enumerate(wrapped.get(title, rows[title])):
                left = NAME_WIDTH + place * (width + GAP)
                if kind == "text":
                    axes.plot([left, left + width], [top - GAP * 1.4] * 2, color=GREY, linewidth=0.4, alpha=0.6)
                    axes.text(left, top, cell, fontsize=SMALL, va="top")
                elif kind == "audio":
                    peak = float(np.max(rows[title][0]))
                    box = (left, left + width, top + high, top)
                    axes.imshow(
                        cell.T, extent=box, origin="lower", cmap="magma", vmin=peak - RANGE, vmax=peak, aspect="auto"
                    )
                else:
                    scale = min(width / cell.width, high / cell.height)
                    box = (left, left + cell.width * scale, top + cell.height * scale, top)
                    axes.imshow(cell, extent=box, interpolation="antialiased")
        axes.set_xlim(0, total)
        axes.set_ylim(tops[-1], 0)  # downwards, in inches
        axes.set_aspect("equal")
        axes.set_axis_off()

    return Plot(heading=heading, finding=finding, draw=draw, size=(total + 0.3, float(tops[-1]) + 0.75))


def _wrap(text: str, width: float) -> str:
    lines = textwrap.wrap(text, int(width * LETTERS), max_lines=7, placeholder=" …", break_on_hyphens=False)
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Panel:
    """A piece of a graph, drawn at the same places as in the other panels."""

    name: str
    counts: Sequence[str]  # lines below the name
    nodes: frozenset[Any]  # that are there; the others are hollow
    edges: frozenset[Any]  # that are there; the others are dashed


def graph_sheet(
    heading: str,
    finding: str,
    panels: Sequence[Panel],
    places: Mapping[Any, tuple[float, float]],
    labels: Mapping[Any, str],
    edges: Sequence[tuple[Any, Any]],
) -> Plot:
    """The same small graph once a panel. Nodes are (kind, index); places: x in 0 to 1, y in rows downwards."""
    width, row = 4.1, 0.3
    top = 0.4 + 0.17 * max(len(panel.counts) for panel in panels)
    bottom = top + row * (max(y for _, y in places.values()) + 1)

    def draw(axes: Any) -> None:
        from matplotlib.lines import Line2D

        for place, panel in enumerate(panels):
            left = place * (width + 0.3)
            spot = {node: (left + 0.25 + x * (width - 0.55), top + row * (y + 0.5)) for node, (x, y) in places.items()}
            axes.text(left, 0.1, panel.name, weight="bold", va="center")
            for line, words in enumerate(panel.counts):
                axes.text(left, 0.32 + 0.17 * line, words, fontsize=SMALL, va="center", color="#5c6570")
            for edge in edges:
                there = edge in panel.edges
                xs, ys = zip(spot[edge[0]], spot[edge[1]])
                style: dict[str, Any] = {"color": GREY} if there else {"color": COLOURS[5], "linestyle": (0, (2, 2))}
                axes.plot(xs, ys, linewidth=1.1 if there else 0.9, zorder=1, **style)
            for node, (x, y) in spot.items():
                colour = KINDS[node[0]]
                face = colour if node in panel.nodes else "white"
                axes.plot(x, y, "o", color=face, markeredgecolor=colour, markersize=6.5, zorder=2)
                if node in labels:
                    words = textwrap.shorten(labels[node], 36, placeholder=" …")
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.8}
                    axes.text(x, y - 0.09, words, fontsize=SMALL, ha="center", va="bottom", bbox=box, zorder=3)
        handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=kind) for kind, colour in KINDS.items()]
        handles += [
            Line2D([], [], marker="o", linestyle="", color="white", markeredgecolor=GREY, label="without edges now"),
            Line2D([], [], color=GREY, label="interaction"),
            Line2D([], [], color=COLOURS[5], linestyle=(0, (2, 2)), label="left out"),
        ]
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(handles))
        axes.set_xlim(0, len(panels) * (width + 0.3))
        axes.set_ylim(bottom, 0)
        axes.set_aspect("equal")
        axes.set_axis_off()

    return Plot(heading=heading, finding=finding, draw=draw, size=(len(panels) * (width + 0.3) + 0.2, bottom + 0.85))


KINDS = {"user": COLOURS[1], "item": COLOURS[0]}
