"""Plots, each drawn once: what they show (`draw`, `compare`, `network`) and what becomes of them (`render`)."""

from gnnrec.plots.compare import bars, heat_map
from gnnrec.plots.draw import (
    Plot,
    activity,
    embedding_map,
    long_tail,
    ratings,
    time_line,
    training_curve,
    training_curves,
)
from gnnrec.plots.network import network
from gnnrec.plots.render import save_png, svg

__all__ = [
    "Plot",
    "activity",
    "bars",
    "embedding_map",
    "heat_map",
    "long_tail",
    "network",
    "ratings",
    "save_png",
    "svg",
    "time_line",
    "training_curve",
    "training_curves",
]
