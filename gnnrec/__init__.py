"""gnnrec: multimodal recommendations from an interaction log and the items' text, pictures and sound."""

__version__ = "0.1.0"
