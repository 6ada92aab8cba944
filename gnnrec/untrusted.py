"""Files that somebody else may have written: what is wrong with one is a UserError in one line, whatever it holds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.errors import UserError, first_line

ROWS_A_BYTE = 64  # of a Parquet file; ids and logs are far from that, a bomb is not
TEXT_A_BYTE = 2_000  # bytes of text out of one byte of it
SMALL = 1 << 16  # bytes; below it no file is a bomb


@contextmanager
def refusing(where: str | Path, what: str = "damaged or missing") -> Iterator[None]:
    """Whatever a library raises on the bytes of a file is a UserError that begins with `where`: on broken ones it may
    be anything, a panic of Rust too, which is no Exception in Python."""
    try:
        yield
    except UserError:
        raise
    except (Exception, pl.exceptions.PanicException) as error:
        raise UserError(f"{where}: {what}: {first_line(error)[:200]}") from error


def read_json(path: Path, kind: type = dict) -> Any:
    """A JSON document of a kind: dict or list."""
    with refusing(path):
        document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, kind):
        raise UserError(f"{path}: found {str(document)[:40]!r}; expected a JSON {kind.__name__}")
    return document


def read_npy(path: Path, where: str | None = None, *, mapped: bool = False) -> NDArray[Any]:
    """An array of numbers; what its header claims has to be in the file.

    where: what errors begin with, else the path. mapped: read from disk as it is used.
    """
    with refusing(where or path, "not a readable .npy file"):
        with path.open("rb") as file:
            np.lib.format.read_magic(file)  # numpy would open archives and pickles, too
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.ndim and stored.size < len(stored):
            raise ValueError(f"shape {stored.shape}")
        return stored if mapped else np.array(stored)


def read_parquet(path: Path, where: str | None = None) -> pl.DataFrame:
    """A table; one that would unpack to many times its file is refused. where: as in `read_npy`."""
    with refusing(where or path, "not a whole Parquet file"):
        size = max(path.stat().st_size, SMALL)
        num_rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        if num_rows > ROWS_A_BYTE * size:
            raise ValueError(f"{num_rows:,} rows in {size:,} bytes")
        table = pl.read_parquet(path)
        texts = [column.cast(pl.String) for column in table if column.dtype in (pl.String, pl.Categorical)]
        length = sum(column.str.len_bytes().cast(pl.Float64).sum() for column in texts)
        if length > TEXT_A_BYTE * size:
            raise ValueError(f"{length:,.0f} bytes of text in {size:,} bytes")
        return table
