"""How long 10 million rows of CSV take to be read, validated and indexed, and how much memory.

    python scripts/bench/read.py [--rows 10000000]

Variants: `plain` has nothing to complain of but 1,000 repeated rows, 1,000 bad timestamps and 1,000 unknown items;
`gzip` is `plain`, packed; in `ragged` a row has a field too many; in `quoted` every user and item is quoted;
in `irregular` a row has a quote within a field, so that the csv module reads it all.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

VARIANTS = ("plain", "gzip", "ragged", "quoted", "irregular")
NUM_USERS, NUM_ITEMS, NUM_BAD = 500_000, 100_000, 1_000

MORE = {"ragged": "u1,i1,5,1500000000,extra\n", "irregular": 'u1,i1"x,5,1500000000\n'}  # a last row

DESCRIPTION = """\
[interactions]
path = "{file}"
timestamp = "timestamp"
rating = "rating"
[items]
path = "items.csv"
text = "title"
"""


def write(folder: Path, num_rows: int, variant: str) -> None:
    random = np.random.default_rng(0)
    user = (NUM_USERS * random.random(num_rows) ** 2).astype(np.int64)
    item = (NUM_ITEMS * random.random(num_rows) ** 3).astype(np.int64)
    time = 1_500_000_000 + np.arange(num_rows) * 7  # no two rows are the same
    time[:NUM_BAD] = -1
    item[NUM_BAD : 2 * NUM_BAD] += 10 * NUM_ITEMS
    log = pl.DataFrame({"user": user, "item": item, "rating": random.integers(1, 6, num_rows), "timestamp": time})
    log = log.select(
        pl.format("u{}", "user").alias("user"), pl.format("i{}", "item").alias("item"), "rating", "timestamp"
    )
    log = pl.concat([log[:-NUM_BAD], log[-2 * NUM_BAD : -NUM_BAD]])
    file = "log.csv.gz" if variant == "gzip" else "log.csv"
    log.write_csv(
        folder / file,
        compression="gzip" if variant == "gzip" else "uncompressed",
        quote_style="non_numeric" if variant == "quoted" else "necessary",
    )
    if variant in MORE:
        with (folder / file).open("a") as opened:
            opened.write(MORE[variant])
    items = pl.DataFrame({"item": [f"i{number}" for number in range(NUM_ITEMS)]}).with_columns(title="item")
    items.write_csv(folder / "items.csv")
    (folder / "dataset.toml").write_text(DESCRIPTION.format(file=file))


def load(folder: str) -> None:
    """Runs in a process of its own, so that the peak is that of reading and nothing else."""
    from gnnrec.datasets import Dataset

    start = time.perf_counter()
    dataset = Dataset.load(folder)
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {
        "seconds": seconds,
        "peak_mb": peak_mb,
        "rows": len(dataset.interactions),
        "rejected": len(dataset.rejected),
    }
    print(json.dumps(found))


def measure(variant: str, num_rows: int) -> dict[str, object]:
    from rows import row  # not above: it brings torch, whose memory would count as that of reading

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, __file__, "--write", folder, "--variant", variant, "--rows", str(num_rows)], check=True
        )
        ran = subprocess.run([sys.executable, __file__, "--load", folder], check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout)
    values = {"rows": found["rows"], "rejected": found["rejected"]}
    return row(f"made, {num_rows:,} rows", variant, [0], [values], found["seconds"], peak_mb=round(found["peak_mb"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--variant", choices=VARIANTS)
    parser.add_argument("--write", metavar="FOLDER", help="only write the files there")
    parser.add_argument("--load", metavar="FOLDER", help="only load the dataset there")
    options = parser.parse_args()
    if options.write:
        write(Path(options.write), options.rows, options.variant)
    elif options.load:
        load(options.load)
    else:
        variants = (options.variant,) if options.variant else VARIANTS
        rows = [measure(variant, options.rows) for variant in variants]
        from rows import save

        save("read", rows)
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
