"""Embeddings that no model made."""

import numpy as np

from gnnrec.export import Exported

# A comma, a quote, a newline, another script and a number: all of them are ids.
ODD_IDS = ("1", 'a,"b"', "two\nlines", "书籍", "it's")


def made(num_items: int = 2_500, seed: int = 0, dim: int = 16) -> Exported:
    """More items than a batch holds."""
    random = np.random.default_rng(seed)
    user, item = (random.normal(size=(rows, dim)).astype(np.float32) for rows in (30, num_items))
    return Exported(user, item, tuple(f"u{row}" for row in range(30)), (*ODD_IDS, *map(str, range(5, num_items))))
