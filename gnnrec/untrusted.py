"""Files that somebody else may have written: what is wrong with one is a UserError in one line, whatever it holds."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.errors import UserError, first_line

ROWS_A_BYTE = 64  # of a Parquet file; ids and logs are far from that, a bomb is not
TEXT_A_BYTE = 2_000  # bytes of text out of one byte of it
NO_NPY = "not a readable .npy file"
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


def parse_json(content: bytes, where: str | Path, kind: type = dict) -> Any:
    """A JSON document of a kind: dict or list."""
    with refusing(where):
        document = json.loads(content)
    if not isinstance(document, kind):
        raise UserError(f"{where}: found {str(document)[:40]!r}; expected a JSON {kind.__name__}")
    return document


def parse_npy(content: bytes, where: str | Path) -> NDArray[Any]:
    """An array of numbers; what its header claims has to be there."""
    with refusing(where, NO_NPY):
        np.lib.format.read_magic(io.BytesIO(content))  # numpy would open archives and pickles, too
        return _whole(np.load(io.BytesIO(content), allow_pickle=False))


def map_npy(path: Path, where: str, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    """As `parse_npy`, of a file that is read as it is used. mode: c for an array that may be written to, in memory."""
    with refusing(where, NO_NPY):
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
        return _whole(np.load(path, mmap_mode=mode, allow_pickle=False))


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim and array.size < len(array):
        raise ValueError(f"shape {array.shape}")  # no bytes, and as many rows as it likes
    return array


def read_parquet(source: Path | bytes, where: str | Path) -> pl.DataFrame:
    """A table; one that would unpack to many times its size is refused."""
    with refusing(where, "not a whole Parquet file"):
        size = max(len(source) if isinstance(source, bytes) else source.stat().st_size, SMALL)
        check_claim(pl.scan_parquet(source).select(pl.len()).collect().item(), size)
        table = pl.read_parquet(source)
        texts = [column.cast(pl.String) for column in table if column.dtype in (pl.String, pl.Categorical)]
        length = sum(column.str.len_bytes().cast(pl.Float64).sum() for column in texts)
        if length > TEXT_A_BYTE * size:
            raise ValueError(f"{length:,.0f} bytes of text in {size:,} bytes")
        return table


def check_claim(num_rows: int, size: int) -> None:
    """Raises ValueError for a Parquet file of so many bytes that says it has more rows than anything real."""
    if num_rows > ROWS_A_BYTE * max(size, SMALL):
        raise ValueError(f"{num_rows:,} rows in {size:,} bytes")
