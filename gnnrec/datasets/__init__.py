"""Logs and content on disk become a Dataset, cut into train, val and test."""

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.dataset import SPLIT_METHODS, SPLIT_NAMES, Dataset, SplitConfig
from gnnrec.datasets.feedback import Feedback, open_feedback, read_events
from gnnrec.datasets.interactions import Interactions, join_logs
from gnnrec.datasets.split import Split, in_order, settled, split, split_report
from gnnrec.datasets.synthetic import planted, powerlaw

__all__ = [
    "SPLIT_METHODS",
    "SPLIT_NAMES",
    "Catalog",
    "Dataset",
    "Feedback",
    "Interactions",
    "Split",
    "SplitConfig",
    "in_order",
    "join_logs",
    "open_feedback",
    "planted",
    "powerlaw",
    "read_events",
    "settled",
    "split",
    "split_report",
]
