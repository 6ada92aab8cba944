"""The catalogue as a map: near each other is what is recommended together.

Letters: I items, d dimensions, n items on the map.
"""

import numpy as np
from numpy.typing import NDArray

from gnnrec.plots.project import project
from gnnrec.report.data import EmbeddingMap, MapPoint
from gnnrec.report.people import Cards
from gnnrec.run_folder import Run

MOST_ITEMS = 4000  # on the map
MOST_PICTURES = 250  # of the most popular items: each one is some kilobytes of the file
NUM_LABELS = 6  # as many as there are colours that the colour-blind can tell apart


def embedding_map(run: Run, vectors: NDArray[np.float32], cards: Cards, seed: int = 0) -> EmbeddingMap:
    """The most popular items, by their embeddings [I, d], with label, class of popularity, and some with a picture."""
    popularity = np.bincount(run.train.item, minlength=run.train.num_items)
    shown = np.argsort(-popularity, kind="stable")[:MOST_ITEMS]  # [n]
    points = project(vectors[shown], seed)
    kinds = run.items.kinds() if run.items else (None,) * len(popularity)
    values = [kinds[item] for item in shown]
    names, counts = np.unique([value for value in values if value], return_counts=True)
    labels = [str(name) for name in names[np.argsort(-counts, kind="stable")][:NUM_LABELS]]
    classes, bounds = popularity_classes(popularity[shown])
    made = [
        MapPoint(
            x=float(points[place, 0]),
            y=1 - float(points[place, 1]),
            title=cards.title(int(item)),
            label=labels.index(values[place]) if values[place] in labels else -1,
            popularity=int(classes[place]),
            image=cards.picture(int(item)) if place < MOST_PICTURES else None,
        )
        for place, item in enumerate(shown)
    ]
    return EmbeddingMap(points=made, labels=labels, popularity=bounds, num_items=len(popularity))


def popularity_classes(popularity: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[str]]:
    """The items in quarters by popularity, 0 the most popular: the class of each [n], and the classes in words."""
    cuts = np.unique(np.quantile(popularity, (0.25, 0.5, 0.75), method="lower"))[::-1]
    found = (popularity[:, None] <= cuts).sum(1)  # an item at a cut belongs below it
    words = [_range(popularity[found == place]) for place in range(len(cuts) + 1)]
    return found, words


def _range(values: NDArray[np.int64]) -> str:
    if not len(values):
        return ""
    low, high = int(values.min()), int(values.max())
    return f"{low:,} users" if low == high else f"{low:,} to {high:,} users"
