"""The plots of a log, a training and an embedding space, each drawn once, for the report and for `inspect` alike.

Every function returns a `Plot`; `render.py` turns it into SVG for a page or into a PNG file. Plots are as wide as a
phone, with text of 9 points: a page lays as many beside each other as it has room for, and text is the same size
everywhere.

Letters: U users, I items, n points, d dimensions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.metrics import gini_of
from gnnrec.plots import ticks
from gnnrec.vectors import unit_length

# Okabe & Ito's colours for the colour-blind, the light ones darkened until they show on white too.
COLOURS = ("#0072b2", "#d98200", "#009e73", "#cc79a7", "#3d9fd6", "#b5500b")
GREY = "#8a9099"
MAX_POINTS = 5000  # on the embedding map
MOST_BINS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """`draw` fills one pair of matplotlib axes; it leaves text, lines and fonts to the style in force."""

    heading: str
    finding: str  # what it shows, in a few words
    draw: Callable[[Any], None]
    size: tuple[float, float] = (3.5, 2.6)  # inches


def training_curve(
    heading: str, finding: str, epochs: Sequence[float], values: Sequence[float], label: str, best: float | None = None
) -> Plot:
    """One line over epochs; `best` marks the epoch whose weights were kept."""

    def draw(axes: Any) -> None:
        axes.plot(
            epochs, values, color=COLOURS[0], linewidth=1.6, marker="o" if len(epochs) < 25 else None, markersize=3
        )
        if best is not None:
            axes.axvline(best, color=COLOURS[1], linewidth=1, linestyle=(0, (3, 3)))
            axes.plot([best], [values[list(epochs).index(best)]], "o", color=COLOURS[1], markersize=6)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        ticks.counts(axes.xaxis)
        axes.margins(y=0.12)

    return Plot(heading=heading, finding=finding, draw=draw)


def training_curves(log: Sequence[Mapping[str, Any]], metric: str, label: str) -> list[Plot]:
    """The loss and the validation metric (`label` for people) of a training log, as far as it has them."""
    plots = []
    epochs, losses = _series(log, "loss")
    if losses:
        plots.append(training_curve("Training loss", "mean over the batches of an epoch", epochs, losses, "loss"))
    epochs, values = _series(log, metric)
    if values:
        best = int(np.argmax(values))
        finding = f"{label}, by which weights are chosen; kept: epoch {epochs[best]:g}, {values[best]:.4f}"
        plots.append(training_curve("Validation", finding, epochs, values, label, epochs[best]))
    return plots


def _series(log: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of the rows that have the key."""
    rows = [row for row in log if row.get(key) is not None]
    return [row["epoch"] for row in rows], [row[key] for row in rows]


def long_tail(popularity: NDArray[np.int64], exposure: NDArray[np.int64] | None = None) -> Plot:
    """Each item's share of the interactions [I], and of the places in all lists [I], items by falling popularity.

    Both axes are logarithmic; ranks are averaged in bins of equal width on that axis.
    """
    order = np.argsort(-popularity, kind="stable")
    edges = np.unique(np.geomspace(1, len(order) + 1, 28).astype(int))
    middle = np.sqrt(edges[:-1] * (edges[1:] - 1))  # of the ranks edge .. next edge - 1
    half = int(np.searchsorted(np.cumsum(popularity[order]), popularity.sum() / 2)) + 1

    def share(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        sums = np.add.reduceat(counts[order].astype(np.float64), edges[:-1] - 1)
        return np.asarray(100 * sums / np.diff(edges) / max(counts.sum(), 1))

    def draw(axes: Any) -> None:
        axes.plot(middle, share(popularity), color=GREY, linewidth=1.6, label="interactions")
        axes.fill_between(middle, share(popularity), color=GREY, alpha=0.15, linewidth=0)
        if exposure is not None:
            axes.plot(middle, share(exposure), color=COLOURS[0], linewidth=1.6, label="recommended lists")
            axes.legend(loc="best")
        axes.set_xscale("log")
        axes.set_yscale("log", nonpositive="clip")
        shares = [share(counts) for counts in (popularity, exposure) if counts is not None]
        smallest = min((values[values > 0].min() for values in shares if values.any()), default=1e-3)
        axes.set_ylim(bottom=smallest / 1.5)
        axes.set_xlim(1, max(len(order), 2))
        ticks.logarithmic(axes.xaxis, whole=True)
        ticks.logarithmic(axes.yaxis)
        axes.set_xlabel("item by popularity, 1 = most popular")
        axes.set_ylabel("share of one item, %")

    finding = f"{half:,} of {len(order):,} items have half of the interactions"
    return Plot(heading="Long tail", finding=finding, draw=draw)


def lorenz(popularity: NDArray[np.int64], exposure: NDArray[np.int64] | None = None) -> Plot:
    """What share of the interactions [I], and of the places in all lists [I], the least frequent items have together.

    Each line sorts the items anew; the diagonal is what equal shares would give, and twice the area below it the Gini.
    """
    lines = {"interactions": (popularity, GREY)}
    if exposure is not None:
        lines["recommended lists"] = (exposure, COLOURS[0])
    items = np.linspace(0, 100, len(popularity) + 1)

    def draw(axes: Any) -> None:
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=(0, (3, 3)))
        for name, (counts, colour) in lines.items():
            share = np.concatenate([[0], np.cumsum(np.sort(counts))]) * 100 / max(counts.sum(), 1)
            axes.plot(items, share, color=colour, linewidth=1.6, label=name)
        axes.legend(loc="upper left")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("items, % of the catalogue, the least frequent first")
        axes.set_ylabel("share, %")

    finding = "; ".join(f"{name}: Gini {gini_of(counts):.2f}" for name, (counts, _) in lines.items())
    return Plot(heading="Inequality", finding=finding, draw=draw)


def activity(counts: NDArray[np.int64]) -> Plot:
    """How many users have how many interactions [U], in equal bins of a logarithmic axis; zeros are left out."""
    some = counts[counts > 0]

    def draw(axes: Any) -> None:
        edges = np.unique(np.geomspace(some.min(), some.max() + 1, 30).astype(int)) if len(some) else np.array([1, 2])
        axes.hist(some, bins=edges, color=COLOURS[0], edgecolor="none", rwidth=0.94)
        axes.set_xscale("log")
        axes.set_xlim(edges[0], edges[-1])
        ticks.logarithmic(axes.xaxis, whole=True)
        ticks.counts(axes.yaxis)
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("interactions of a user")
        axes.set_ylabel("users")

    median = float(np.median(some)) if len(some) else 0.0
    finding = f"the median user has {median:,g} interaction{'s' * (median != 1)}"
    return Plot(heading="Activity", finding=finding, draw=draw)


def ratings(bars: Sequence[Mapping[str, Any]]) -> Plot:
    """Bars of {"rating", "rows"}."""

    def draw(axes: Any) -> None:
        names = [bar["rating"] for bar in bars]
        axes.bar(range(len(bars)), [bar["rows"] for bar in bars], color=COLOURS[0], width=0.8)
        axes.set_xticks(range(len(bars)), names, **(ticks.SLANTED if max(map(len, names)) > 4 else {}))
        axes.grid(axis="x", visible=False)
        ticks.counts(axes.yaxis)
        axes.set_xlabel("rating")
        axes.set_ylabel("interactions")

    most = max(bars, key=lambda bar: bar["rows"])
    return Plot(heading="Ratings", finding=f"the most frequent one is {most['rating']}", draw=draw)


def time_line(timestamp: NDArray[np.int64]) -> Plot:
    """Interactions over time; timestamps in unix seconds."""
    low, high = int(timestamp.min()), int(timestamp.max())
    rows, edges = np.histogram(timestamp, MOST_BINS, range=(low, max(high, low + 1)))
    moments = [datetime.fromtimestamp(edge, UTC) for edge in edges]

    def draw(axes: Any) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.stairs(rows, moments, fill=True, color=COLOURS[0])
        axes.grid(axis="x", visible=False)
        ticks.counts(axes.yaxis)
        axes.set_ylabel("interactions")

    return Plot(heading="Time", finding=f"{moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}", draw=draw)


def embedding_map(vectors: NDArray[np.float32], labels: Sequence[str | None], seed: int = 0) -> Plot:
    """The two main directions (PCA) of the unit vectors [n, d], coloured by the most frequent labels."""
    from sklearn.decomposition import PCA

    if len(vectors) > MAX_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(vectors), MAX_POINTS, replace=False))
        vectors, labels = vectors[chosen], [labels[row] for row in chosen]
    unit = unit_length(vectors)
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
            s=[5 if label in colours else 2 for label in labels],
            alpha=0.75,
            linewidths=0,
            rasterized=True,  # thousands of points are smaller as a picture
        )
        handles = [Line2D([], [], color=colours[name], marker="o", linestyle="", label=name) for name in frequent]
        if any(label not in colours for label in labels):
            handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", label="other", markersize=4))
        axes.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.1),
            ncols=3,
            handletextpad=0.1,
            columnspacing=1,
            borderaxespad=0,
        )
        axes.set_xticks([])
        axes.set_yticks([])
        share = 100 * pca.explained_variance_ratio_
        axes.set_xlabel(f"first direction, {share[0]:.0f} % of the variance")
        axes.set_ylabel(f"second, {share[1]:.0f} %")

    finding = "each dot is an item; what lies together is recommended together"
    return Plot(heading="Embedding map", finding=finding, draw=draw, size=(3.5, 3.1))
