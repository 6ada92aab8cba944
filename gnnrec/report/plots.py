"""Plots as inline SVG, for a page in light or dark: ink and lines follow the page, the colours of data stand on both.

Each function draws one figure and returns `<svg …>` text without a word of its own scripts, fonts or addresses.
"""

import io
import re
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Okabe & Ito's colours for the colour-blind, the light ones darkened until they show on white too.
COLOURS = ("#0072b2", "#d98200", "#009e73", "#cc79a7", "#3d9fd6", "#b5500b")
GREY = "#8a9099"
# Stand-ins that become the page's own colours.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
PAGE_COLOURS = {INK: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)"}

STYLE = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a title with two dollar signs is no formula
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",  # real text: small, sharp, searchable
    "svg.hashsalt": "gnnrec",  # the same plot gives the same bytes
}
MAX_POINTS = 5000  # on the embedding map


def training_curve(epochs: Sequence[float], values: Sequence[float], label: str, best: float | None = None) -> str:
    """One line over epochs; `best` marks the epoch whose weights were kept."""

    def draw(axes: Any) -> None:
        axes.plot(
            epochs, values, color=COLOURS[0], linewidth=1.8, marker="o" if len(epochs) < 25 else None, markersize=3
        )
        if best is not None:
            value = values[list(epochs).index(best)]
            late = best > np.mean(epochs)
            axes.axvline(best, color=COLOURS[1], linewidth=1, linestyle=(0, (3, 3)))
            axes.plot([best], [value], "o", color=COLOURS[1], markersize=7)
            axes.annotate(
                f"kept: epoch {best:g}, {value:.4f}",
                (best, 0.04),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(-6 if late else 6, 0),
                ha="right" if late else "left",
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(y=0.12)

    return _svg(draw, (5.6, 3.1))


def long_tail(popularity: NDArray[np.int64], exposure: NDArray[np.int64] | None = None) -> str:
    """Each item's share of the interactions [I], and of the places in all lists [I], items by falling popularity.

    Both axes are logarithmic; ranks are averaged in bins of equal width on that axis.
    """
    order = np.argsort(-popularity, kind="stable")
    edges = np.unique(np.geomspace(1, len(order) + 1, 28).astype(int))
    middle = np.sqrt(edges[:-1] * (edges[1:] - 1))  # of the ranks edge .. next edge - 1

    def share(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = np.add.reduceat(counts[order].astype(np.float64), edges[:-1] - 1)
        return np.asarray(100 * sums / np.diff(edges) / max(counts.sum(), 1))

    def draw(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        axes.plot(middle, share(popularity), color=GREY, linewidth=1.8, label="interactions in train")
        axes.fill_between(middle, share(popularity), color=GREY, alpha=0.15, linewidth=0)
        if exposure is not None:
            axes.plot(middle, share(exposure), color=COLOURS[0], linewidth=1.8, label="places in recommended lists")
        axes.set_xscale("log")
        axes.set_yscale("log", nonpositive="clip")
        positive = [
            values[values > 0] for values in (share(popularity), *([] if exposure is None else [share(exposure)]))
        ]
        smallest = min((values.min() for values in positive if len(values)), default=1e-3)
        axes.set_ylim(bottom=smallest / 1.5)
        axes.set_xlim(1, max(len(order), 2))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.set_xlabel("item by popularity, 1 = most popular")
        axes.set_ylabel("share of one item, %")
        axes.legend(loc="lower left")

    return _svg(draw, (5.6, 3.4))


def histogram(values: NDArray[np.int64], label: str, unit: str) -> str:
    """How many (`unit`, such as "users") have how much, in equal bins of a logarithmic axis; zeros are left out."""
    values = values[values > 0]

    def draw(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter

        edges = np.unique(np.geomspace(1, values.max() + 1, 30).astype(int)) if len(values) else np.array([1, 2])
        axes.hist(values, bins=edges, color=COLOURS[0], edgecolor="none", rwidth=0.94)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel(label)
        axes.set_ylabel(unit)

    return _svg(draw, (5.6, 3.1))


def bars(groups: Mapping[str, Mapping[str, float]], label: str) -> str:
    """Lying bars: for each group one bar a series ({group: {series: value}}), with the value at its end."""
    series = list(dict.fromkeys(name for values in groups.values() for name in values))
    height = 0.8 / max(len(series), 1)

    def draw(axes: Any) -> None:
        for place, name in enumerate(series):
            at = np.arange(len(groups)) - 0.4 + height * (place + 0.5)
            values = [group.get(name, np.nan) for group in groups.values()]
            axes.barh(at, values, height * 0.88, color=COLOURS[place % len(COLOURS)], label=name)
            for y, value in zip(at, values):
                if np.isfinite(value):
                    axes.annotate(f"{value:.3f}", (value, y), textcoords="offset points", xytext=(4, 0), va="center")
        axes.set_yticks(np.arange(len(groups)), list(groups))
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.16)
        axes.set_xlim(left=0)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(label)
        if len(series) > 1:
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handlelength=1)

    return _svg(draw, (5.6, 0.7 + 0.3 * (len(series) > 1) + len(groups) * (0.24 + 0.2 * len(series))))


def embedding_map(vectors: NDArray[np.float32], labels: Sequence[str | None], seed: int = 0) -> str:
    """The two main directions (PCA) of the unit vectors [n, d], coloured by the most frequent labels."""
    from sklearn.decomposition import PCA

    if len(vectors) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MAX_POINTS, replace=False))
        vectors, labels = vectors[chosen], [labels[row] for row in chosen]
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    pca = PCA(2, random_state=seed)
    points = pca.fit_transform(unit)
    names, counts = np.unique([label for label in labels if label], return_counts=True)
    frequent = [str(name) for name in names[np.argsort(-counts, kind="stable")][: len(COLOURS)]]
    colours = dict(zip(frequent, COLOURS))

    def draw(axes: Any) -> None:
        from matplotlib.lines import Line2D

        axes.scatter(
            *points.T,
            c=[colours.get(label or "", GREY) for label in labels],
            # Items without a frequent label stay in the background.
            s=[7 if label in colours else 3 for label in labels],
            alpha=0.75,
            linewidths=0,
            rasterized=True,  # thousands of points are smaller as a picture
        )
        handles = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in frequent]
        if any(label not in colours for label in labels):
            handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", label="other", markersize=4))
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, handletextpad=0.1)
        axes.set_xticks([])
        axes.set_yticks([])
        share = 100 * pca.explained_variance_ratio_
        axes.set_xlabel(f"first direction, {share[0]:.0f} % of the variance")
        axes.set_ylabel(f"second, {share[1]:.0f} %")

    return _svg(draw, (5.6, 4.6))


def _svg(draw: Any, size: tuple[float, float]) -> str:
    """Let `draw` fill one pair of axes, and return the figure as SVG for a page."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):  # not pyplot: no window, no figure that outlives this call
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        with warnings.catch_warnings():
            # matplotlib only measures the text; the reader's browser has the glyphs that are missing here.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
            figure.savefig(buffer, format="svg", transparent=True, dpi=170, metadata=nothing)
    return _for_page(buffer.getvalue())


def _for_page(svg: str) -> str:
    """Without prologue, names that several plots of one page share, and a fixed size; with the page's colours."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg, count=2)  # HTML knows them
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r'<svg role="img" \1', svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", svg, count=1)
    names = f"p{zlib.crc32(svg.encode()):08x}-"  # a hash that is the same in every process
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{names}", svg)
    for stand_in, colour in PAGE_COLOURS.items():
        svg = svg.replace(stand_in, colour)
    return svg
