"""Make covers/, query/cover.jpg and interactions.csv.gz of data/books from its items.csv, which is written by hand.

    python scripts/make_books.py data/books

Covers and log are made up, from a seed. A reader has one to three favourite kinds and one or two languages; nine in
ten of her books are drawn from these, the others from everything, popular ones more often.
"""

import gzip
import io
import sys
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from book_covers import cover

SEED = 7
READERS = 400
FEWEST, MOST = 10, 30  # books of a reader
FAITHFUL = 0.9  # probability that a book is of a favourite kind
LANGUAGES = ((("zh",), 0.45), (("en",), 0.35), (("zh", "en"), 0.2))  # what a reader reads, and how often that is
QUALITY = 72  # of the JPEG files


def make_log(items: pl.DataFrame) -> pl.DataFrame:
    """Rows of reader and book, in no order of time."""
    random = np.random.default_rng(SEED)
    kind, language = items["kind"].to_numpy(), items["language"].to_numpy()
    kinds = np.unique(kind)
    popularity = random.lognormal(sigma=0.7, size=len(items))  # [I]
    rows = []
    for reader in range(READERS):
        spoken = LANGUAGES[random.choice(len(LANGUAGES), p=[share for _, share in LANGUAGES])][0]
        tastes = random.choice(kinds, size=random.integers(1, 4), replace=False)
        readable = popularity * np.isin(language, spoken)
        favourite = readable * np.isin(kind, tastes)
        weight = FAITHFUL * favourite / favourite.sum() + (1 - FAITHFUL) * readable / readable.sum()
        number = min(random.integers(FEWEST, MOST + 1), np.count_nonzero(favourite) + 3)
        chosen = random.choice(len(items), size=number, replace=False, p=weight)
        rows += [(f"r{reader + 1:03}", items["item"][int(book)]) for book in chosen]
    return pl.DataFrame(rows, schema=["user", "item"], orient="row")


def make(folder: Path) -> None:
    items = pl.read_csv(folder / "items.csv")
    for name in ("covers", "query"):
        (folder / name).mkdir(exist_ok=True)
    for item in items.iter_rows(named=True):
        drawn = cover(item["kind"], item["topic"], item["title"], Random(item["item"]))
        drawn.save(folder / item["cover"], quality=QUALITY)
    # A technical book that is not in the catalogue: what a reader might hold before the camera.
    drawn = cover("technology", "machine learning", "Neural Machines", Random("query"))
    drawn.save(folder / "query/cover.jpg", quality=QUALITY)
    buffer = io.BytesIO()
    make_log(items).write_csv(buffer)
    (folder / "interactions.csv.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
