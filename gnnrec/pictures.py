"""PNG pictures for `inspect`: a log as people look at it, a training, one user's neighbourhood.

Letters: U users, I items.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from gnnrec.files import atomic_path

BLUE, ORANGE, GREY = "#0072b2", "#d98200", "#8a9099"
COLOURS = {"user": ORANGE, "item": BLUE}
OTHERS = ("#009e73", "#cc79a7", "#b5500b", "#3d9fd6", "#8f7a00")  # modalities in order
STYLE = {
    "font.size": 10,
    "text.parse_math": False,  # a title with two dollar signs is no formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e1e5ea",
    "axes.edgecolor": "#b8bfc8",
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
}
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei")  # those installed
LONGEST_LABEL = 34
MOST_BINS = 60


def long_tail(popularity: NDArray[np.int64], path: Path) -> Path:
    """Interactions of each item [I], by falling popularity, and the share of all that the items up to there have."""
    ordered = np.sort(popularity)[::-1]
    share = 100 * np.cumsum(ordered) / max(ordered.sum(), 1)
    half = int(np.searchsorted(share, 50)) + 1

    def draw(axes: Any) -> None:
        rank = np.arange(1, len(ordered) + 1)
        axes.fill_between(rank, ordered, step="mid", color=BLUE, alpha=0.25, linewidth=0)
        axes.plot(rank, ordered, color=BLUE, linewidth=1.4)
        axes.set_xlabel("item by popularity, 1 = most popular")
        axes.set_ylabel("interactions", color=BLUE)
        axes.set_xlim(1, max(len(ordered), 2))
        axes.set_ylim(bottom=0)
        right = axes.twinx()
        right.plot(rank, share, color=ORANGE, linewidth=1.4)
        right.set_ylim(0, 102)
        right.set_ylabel("share of all up to here, %", color=ORANGE)
        right.grid(visible=False)
        axes.set_title(f"Long tail: {half:,} of {len(ordered):,} items have half of the interactions")

    return save(draw, path)


def activity(activity: NDArray[np.int64], path: Path) -> Path:
    """How many users have how many interactions [U], in bins of a logarithmic axis."""
    some = activity[activity > 0]

    def draw(axes: Any) -> None:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        edges = np.unique(np.geomspace(some.min(), some.max() + 1, 32).astype(int)) if len(some) else np.array([1, 2])
        axes.hist(some, bins=edges, color=BLUE, rwidth=0.94)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(edges[0], edges[-1])
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("interactions of a user")
        axes.set_ylabel("users")
        axes.set_title(f"Activity: the median user has {np.median(some) if len(some) else 0:,g}")

    return save(draw, path)


def ratings(bars: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Bars of {"rating", "rows"}."""

    def draw(axes: Any) -> None:
        axes.bar([bar["rating"] for bar in bars], [bar["rows"] for bar in bars], color=BLUE, width=0.8)
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", rotation=45 if max(len(bar["rating"]) for bar in bars) > 4 else 0)
        axes.set_xlabel("rating")
        axes.set_ylabel("interactions")
        axes.set_title("Ratings")

    return save(draw, path)


def time_line(timestamp: NDArray[np.int64], path: Path) -> Path:
    """Interactions over time; timestamps in unix seconds."""
    low, high = int(timestamp.min()), int(timestamp.max())

    def draw(axes: Any) -> None:
        rows, edges = np.histogram(timestamp, MOST_BINS, range=(low, max(high, low + 1)))
        moments = [datetime.fromtimestamp(edge, UTC) for edge in edges]
        axes.stairs(rows, moments, fill=True, color=BLUE)
        axes.grid(axis="x", visible=False)
        axes.set_ylabel("interactions")
        axes.set_title(f"Time: {moments[0]:%Y-%m-%d} to {moments[-1]:%Y-%m-%d}")

    return save(draw, path)


def training(log: Sequence[Mapping[str, float]], metric: str, kept: int, path: Path) -> Path:
    """The loss and, on the right axis, the validation metric over the epochs of `log`; `kept` is the epoch kept."""

    def draw(axes: Any) -> None:
        axes.plot([row["epoch"] for row in log], [row["loss"] for row in log], color=GREY)
        axes.set_xlabel("epoch")
        axes.set_ylabel("loss", color=GREY)
        axes.set_title("Training")
        measured = [row for row in log if metric in row]
        if measured:
            right = axes.twinx()
            right.plot([row["epoch"] for row in measured], [row[metric] for row in measured], color=BLUE, marker=".")
            right.axvline(kept, color=ORANGE, linestyle=(0, (3, 3)), linewidth=1)
            right.set_ylabel(f"{metric} on val", color=BLUE)
            right.grid(visible=False)
            axes.set_title(f"Training: epoch {kept} was kept")

    return save(draw, path)


def network(graph: nx.DiGraph, title: str, path: Path) -> Path:
    """The graph of `neighbourhood`: colours by type, titles beside the items, similarities on the edges."""
    kinds = list(dict.fromkeys(kind for _, kind in graph.nodes(data="kind")))
    extra = dict(zip((kind for kind in kinds if kind not in COLOURS), OTHERS * len(kinds)))
    colours = COLOURS | extra
    places = dict(graph.nodes(data="place"))
    rows = max(sum(place[0] == x for place in places.values()) for x in {place[0] for place in places.values()})
    width = max(place[0] for place in places.values())

    def draw(axes: Any) -> None:
        from matplotlib.lines import Line2D

        weights = nx.get_edge_attributes(graph, "weight")
        similar = [edge for edge, weight in weights.items() if weight is not None]
        for edges, colour, style in (
            ([edge for edge in graph.edges if edge not in set(similar)], "#b8bfc8", "-"),
            (similar, "#5c6570", (0, (4, 2))),
        ):
            bent = "arc3,rad=0.06"  # two nodes of one column are joined around those between them
            nx.draw_networkx_edges(
                graph, places, edges, ax=axes, edge_color=colour, style=style, node_size=190, connectionstyle=bent
            )
        for kind in kinds:
            nodes = [node for node in graph if graph.nodes[node]["kind"] == kind]
            fill = ["white" if graph.nodes[node].get("filled_in") else colours[kind] for node in nodes]
            nx.draw_networkx_nodes(
                graph, places, nodes, ax=axes, node_size=190, node_color=fill, edgecolors=colours[kind], linewidths=1.6
            )
        labels(axes, graph, places, width)
        for (source, target), weight in weights.items():
            if weight is not None:
                x, y = (np.array(places[source]) + places[target]) / 2
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                axes.text(x, y, f"{weight:.2f}", ha="center", va="center", fontsize=7.5, color="#5c6570", bbox=box)
        handles = [Line2D([], [], marker="o", linestyle="", color=colours[kind], label=kind) for kind in kinds]
        handles.append(Line2D([], [], color="#b8bfc8", label="has, had"))
        if similar:
            handles.append(Line2D([], [], color="#5c6570", linestyle=(0, (4, 2)), label="similar, with its weight"))
        if any(filled for _, filled in graph.nodes(data="filled_in")):
            handles.append(
                Line2D(
                    [], [], marker="o", linestyle="", color="white", markeredgecolor=GREY, label="filled in from others"
                )
            )
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(handles), handlelength=1.6)
        axes.set_title(title)
        axes.set_axis_off()
        axes.set_xlim(-0.4, width + 1.0)

    return save(draw, path, (12.5, 1.6 + 0.62 * max(rows, 4)))


def labels(axes: Any, graph: nx.DiGraph, places: Mapping[Any, tuple[float, float]], width: int) -> None:
    """Titles: of the last column to the right of their nodes, of all others above them, in front of the edges."""
    for node, name in graph.nodes(data="label"):
        x, y = places[node]
        last = x == width and width > 0
        axes.annotate(
            name if len(name) <= LONGEST_LABEL else name[: LONGEST_LABEL - 1] + "…",
            (x, y),
            textcoords="offset points",
            xytext=(11, 0) if last else (0, 10),
            ha="left" if last else "center",
            va="center" if last else "bottom",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        )


def save(draw: Callable[[Any], None], path: Path, size: tuple[float, float] = (7.2, 4.2)) -> Path:
    """Let `draw` fill one pair of axes and write the figure, whole or not at all."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names

    # Titles come in every script: the first family that has a sign draws it, else an empty box stands for it.
    families = [name for name in FONTS if name in get_font_names()]
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context(STYLE | {"font.family": families}),
    ):  # not pyplot: no window, no figure that outlives this call
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=140, facecolor="white")
    return path
