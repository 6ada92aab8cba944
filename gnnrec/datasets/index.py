"""External ids to internal indexes. Letters: n rows, F pairs of friends."""

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.clean import clean_log, rejections, set_aside
from gnnrec.datasets.interactions import rows_of_users
from gnnrec.datasets.raw import RawLog, RawTable
from gnnrec.errors import UserError
from gnnrec.scratch import row_blocks

PART_ROWS = 2**21


def permuted(ids: pl.Series) -> list[str]:
    """The ids by their keyed hash, so that neither their own order nor that of the rows can leak into an index."""
    return sorted(
        ids.to_list(), key=lambda text: hashlib.blake2b(text.encode(), key=b"gnnrec", digest_size=16).digest()
    )


def indexes(ids: pl.Series, order: Sequence[str]) -> pl.Series:
    """The position in `order` of each id, null where it is not there. [n] Int32"""
    return ids.cast(pl.Enum(order), strict=False).to_physical().cast(pl.Int32)


class Numbers:
    """Numbers for ids in the order in which they are met, for logs that come a part at a time."""

    def __init__(self) -> None:
        self.known = pl.DataFrame(schema={"id": pl.String, "number": pl.Int32})

    def of(self, ids: pl.Series) -> pl.Series:
        """[n] String -> [n] Int32"""
        new = pl.DataFrame({"id": ids.unique(maintain_order=True)}).join(self.known, on="id", how="anti")
        first = len(self.known)
        numbers = pl.int_range(first, first + len(new), dtype=pl.Int32, eager=True).alias("number")
        self.known = pl.concat([self.known, new.with_columns(numbers)])
        found = pl.DataFrame({"id": ids}).join(self.known, on="id", how="left", maintain_order="left")
        return found["number"]

    def ids(self) -> pl.Series:
        """Each id at its number. [N]"""
        return self.known["id"]


def number_log(log: RawLog) -> tuple[pl.DataFrame, pl.Series, pl.Series, list[pl.DataFrame], pl.Series]:
    """As `clean_log`, with numbers in the place of ids, the ids of users and of items by these numbers.

    Texts of ids are made for PART_ROWS rows at a time: for all at once they would be most of what a log takes.
    """
    users, items = Numbers(), Numbers()
    frames, rejected, below = [], list[pl.DataFrame](), list[pl.Series]()
    for rows in row_blocks(max(len(log.table.frame), 1), PART_ROWS):
        frame, more, low = clean_log(log.part(rows))
        frames.append(frame.with_columns(user=users.of(frame["user"]), item=items.of(frame["item"])))
        rejected, below = rejected + more, [*below, low]
    return pl.concat(frames), users.ids(), items.ids(), rejected, pl.concat(below)


def index_log(
    log: pl.DataFrame,
    file: str,
    users: tuple[pl.Series, Sequence[str]],
    items: tuple[pl.Series, Sequence[str]],
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Numbers to indexes; unknown items and repeated rows are set aside. users, items: ids by number, by index."""
    (user_ids, user_order), (item_ids, item_order) = users, items
    user, item = indexes(user_ids, user_order).gather(log["user"]), indexes(item_ids, item_order).gather(log["item"])
    missing = item.is_null()
    nowhere = log.filter(missing)
    nowhere = nowhere.with_columns(item=item_ids.gather(nowhere["item"]))
    unknown = rejections(nowhere, file, "item id is not in the items file", "item")
    log = log.with_columns(user=user, item=item).filter(~missing)
    repeated = pl.Series(repetitions(log, len(user_order), len(item_order)))
    again = log.filter(repeated)
    pairs = [f"{user_order[user]},{item_order[item]}" for user, item in again.select("user", "item").iter_rows()]
    again = again.with_columns(pair=pl.Series(pairs, dtype=pl.String))
    reason = f"duplicate: same user{', item and time' if 'timestamp' in log.columns else ' and item'} as a row before"
    return log.filter(~repeated), [unknown, rejections(again, file, reason, "pair")]


def repetitions(log: pl.DataFrame, num_users: int, num_items: int) -> NDArray[np.bool_]:
    """The rows whose user, item and timestamp (if there are any) a row before them has. [n]"""
    users, items = log["user"].to_numpy(), log["item"].to_numpy()
    times = log["timestamp"].to_numpy() if "timestamp" in log.columns else None
    repeated = np.zeros(len(log), dtype=bool)
    for rows in rows_of_users(users, num_users):
        pair = users[rows].astype(np.int64) * num_items + items[rows]
        time = np.zeros(len(rows), dtype=np.int64) if times is None else times[rows]
        order = np.lexsort((time, pair))  # stable: of equal rows the first in the file comes first
        repeated[rows[order[1:]]] = (np.diff(pair[order]) == 0) & (np.diff(time[order]) == 0)
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
