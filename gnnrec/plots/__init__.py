"""Plots, each drawn once: what they show (`draw`, `compare`, `network`) and what becomes of them (`render`)."""

from gnnrec.plots.compare import bars, heat_map, search
from gnnrec.plots.draw import (
    Plot,
    activity,
    embedding_map,
    long_tail,
    lorenz,
    ratings,
    time_line,
    training_curve,
    training_curves,
)
from gnnrec.plots.network import network
from gnnrec.plots.render import save_png, svg
from gnnrec.plots.sheet import Column, Panel, contact_sheet, graph_sheet

__all__ = [
    "Column",
    "Panel",
    "Plot",
    "activity",
    "bars",
    "contact_sheet",
    "embedding_map",
    "graph_sheet",
    "heat_map",
    "long_tail",
    "lorenz",
    "network",
    "ratings",
    "save_png",
    "search",
    "svg",
    "time_line",
    "training_curve",
    "training_curves",
]
