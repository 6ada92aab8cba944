"""Folders of the MMRec toolbox: NAME.inter with userID, itemID and x_label (0 train, 1 val, 2 test), *_feat.npy.

https://github.com/enoche/MMRec . Ids of items are the rows of the feature files.
"""

from pathlib import Path

import polars as pl

from gnnrec.datasets.raw import RawCatalog, RawDataset, RawLog
from gnnrec.datasets.sources.columnar import numbered
from gnnrec.datasets.sources.delimited import first_line, read_delimited
from gnnrec.untrusted import map_npy

FEATURES = "_feat.npy"


def found(folder: Path) -> bool:
    return any("x_label" in first_line(path) for path in folder.glob("*.inter"))


def read(folder: Path) -> RawDataset:
    path = next(path for path in sorted(folder.glob("*.inter")) if "x_label" in first_line(path))
    table = read_delimited(path, path.name, separator="\t", quoted=False)
    features = {found.name.removesuffix(FEATURES): found for found in sorted(folder.glob(f"*{FEATURES}"))}
    return RawDataset(
        name=path.stem,
        root=folder,
        log=RawLog(
            table=table,
            user="userID",
            item="itemID",
            timestamp="timestamp" if "timestamp" in table.columns else None,
            rating="rating" if "rating" in table.columns else None,
            split="x_label",
        ),
        items=read_catalog(next(iter(features.values()))) if features else None,
        item_features={name: (path,) for name, path in features.items()},
    )


def read_catalog(path: Path) -> RawCatalog:
    """There is no table of items: item r is row r of the features."""
    num_items = len(map_npy(path, path.name))
    ids = pl.DataFrame({"itemID": [str(row) for row in range(num_items)]})
    return RawCatalog(table=numbered(ids, path.name), id="itemID")
