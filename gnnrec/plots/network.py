"""One user's surroundings in the graph: a networkx graph with places becomes a plot."""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np

from gnnrec.plots.draw import COLOURS, GREY, Plot

OF_KIND = {"user": COLOURS[1], "item": COLOURS[0]}
OTHERS = (*COLOURS[2:4], COLOURS[5], COLOURS[4], "#8f7a00")  # modalities in order
HAS, SIMILAR = "#b8bfc8", "#5c6570"  # edges
LONGEST_LABEL = 34


def network(graph: nx.DiGraph, user: str) -> Plot:
    """The surroundings of the user of this id: nodes with `kind`, `label` and `place`, edges with `weight`.

    Colours by kind, titles beside the items, similarities on the edges.
    """
    kinds = list(dict.fromkeys(kind for _, kind in graph.nodes(data="kind")))
    extra = dict(zip((kind for kind in kinds if kind not in OF_KIND), OTHERS * len(kinds)))
    colours = OF_KIND | extra
    places = dict(graph.nodes(data="place"))
    rows = max(sum(place[0] == x for place in places.values()) for x in {place[0] for place in places.values()})
    width = max(place[0] for place in places.values())

    def draw(axes: Any) -> None:
        from matplotlib.lines import Line2D

        weights = nx.get_edge_attributes(graph, "weight")
        similar = [edge for edge, weight in weights.items() if weight is not None]
        for edges, colour, style in (
            ([edge for edge in graph.edges if edge not in set(similar)], HAS, "-"),
            (similar, SIMILAR, (0, (4, 2))),
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
                axes.text(x, y, f"{weight:.2f}", ha="center", va="center", fontsize=7.5, color=SIMILAR, bbox=box)
        handles = [Line2D([], [], marker="o", linestyle="", color=colours[kind], label=kind) for kind in kinds]
        handles.append(Line2D([], [], color=HAS, label="has, had"))
        if similar:
            handles.append(Line2D([], [], color=SIMILAR, linestyle=(0, (4, 2)), label="similar, with its weight"))
        if any(filled for _, filled in graph.nodes(data="filled_in")):
            handles.append(
                Line2D(
                    [], [], marker="o", linestyle="", color="white", markeredgecolor=GREY, label="filled in from others"
                )
            )
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=len(handles), handlelength=1.6)
        axes.set_axis_off()
        axes.set_xlim(-0.4, width + 1.0)

    return Plot(
        heading="Neighbourhood",
        finding=f"user {user} in the graph: messages flow from right to left",
        draw=draw,
        size=(12.5, 1.6 + 0.62 * max(rows, 4)),
    )


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
