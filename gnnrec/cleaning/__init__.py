"""What is wrong with a dataset, found and reported; repaired in a copy, never in the original."""

from gnnrec.cleaning.folder import Cleaning, clean
from gnnrec.cleaning.settings import KINDS, SAFE, CleanConfig, parse_kinds

__all__ = ["KINDS", "SAFE", "CleanConfig", "Cleaning", "clean", "parse_kinds"]
