"""External ids to internal indexes. Letters: n rows, F pairs of friends."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.clean import rejections, set_aside
from gnnrec.datasets.raw import RawTable
from gnnrec.errors import UserError


def permuted(ids: pl.Series) -> list[str]:
    """The ids by their keyed hash, so that neither their own order nor that of the rows can leak into an index."""
    return sorted(
        ids.to_list(), key=lambda text: hashlib.blake2b(text.encode(), key=b"gnnrec", digest_size=16).digest()
    )


def indexes(ids: pl.Series, order: Sequence[str]) -> pl.Series:
    """The position in `order` of each id, null where it is not there. [n] Int32"""
    return ids.cast(pl.Enum(order), strict=False).to_physical().cast(pl.Int32)


def index_log(
    log: pl.DataFrame, file: str, user_order: Sequence[str], item_order: Sequence[str]
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Ids to indexes; unknown items and repeated rows are set aside."""
    item = indexes(log["item"], item_order)
    unknown = rejections(log.filter(item.is_null()), file, "item id is not in the items file", "item")
    log = log.with_columns(user=indexes(log["user"], user_order), item=item).filter(item.is_not_null())
    repeated = pl.Series(repetitions(log, len(item_order)))
    again = log.filter(repeated)
    pairs = [f"{user_order[user]},{item_order[item]}" for user, item in again.select("user", "item").iter_rows()]
    again = again.with_columns(pair=pl.Series(pairs, dtype=pl.String))
    reason = f"duplicate: same user{', item and time' if 'timestamp' in log.columns else ' and item'} as a row before"
    return log.filter(~repeated), [unknown, rejections(again, file, reason, "pair")]


def repetitions(log: pl.DataFrame, num_items: int) -> NDArray[np.bool_]:
    """The rows whose user, item and timestamp (if there are any) a row before them has. [n]"""
    pair = log["user"].to_numpy().astype(np.int64) * num_items + log["item"].to_numpy()
    time = log["timestamp"].to_numpy() if "timestamp" in log.columns else np.zeros(len(log), dtype=np.int64)
    order = np.lexsort((time, pair))  # stable: of equal rows the first in the file comes first
    repeated = np.zeros(len(log), dtype=bool)
    repeated[order[1:]] = (np.diff(pair[order]) == 0) & (np.diff(time[order]) == 0)
    return repeated


def index_friends(table: RawTable | None, order: Sequence[str]) -> tuple[NDArray[np.int32] | None, list[pl.DataFrame]]:
    """Each pair once, whichever way round the file has it. [2, F]"""
    if table is None:
        return None, []
    if len(table.columns) < 2:
        raise UserError(f"{table.file}: two columns of user ids are needed; it has: {', '.join(table.columns)}")
    names = table.columns[:2]
    left, right = (indexes(table.frame[name].cast(pl.String).str.strip_chars(), order) for name in names)
    frame = table.frame.with_columns(
        left=left, right=right, pair=pl.concat_str(names, separator=",", ignore_nulls=True)
    )
    unknown = pl.col("left").is_null() | pl.col("right").is_null()
    kept, rejected = set_aside(
        frame,
        table.file,
        [
            ("user id is in neither the log nor the users file", unknown, "pair"),
            ("a user is no friend of their own", pl.col("left") == pl.col("right"), "pair"),
        ],
    )
    pairs = kept.select(pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right")).unique()
    return pairs.sort(pairs.columns).to_numpy().T.astype(np.int32), [table.rejected, rejected]
