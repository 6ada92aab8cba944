"""Logs and content on disk become a Dataset, cut into train, val and test."""

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.dataset import SPLIT_METHODS, SPLIT_NAMES, Dataset, SplitConfig
from gnnrec.datasets.interactions import Interactions
from gnnrec.datasets.split import Split, in_order, split, split_report
from gnnrec.datasets.synthetic import planted, powerlaw

__all__ = [
    "SPLIT_METHODS",
    "SPLIT_NAMES",
    "Catalog",
    "Dataset",
    "Interactions",
    "Split",
    "SplitConfig",
    "in_order",
    "planted",
    "powerlaw",
    "split",
    "split_report",
]
