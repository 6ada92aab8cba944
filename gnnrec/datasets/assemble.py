"""RawDataset -> Dataset: the one path on which every source is checked and indexed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.clean import ID, clean_catalog
from gnnrec.datasets.content import attach
from gnnrec.datasets.dataset import REJECTED_SCHEMA, Dataset, SplitConfig
from gnnrec.datasets.index import index_friends, index_log, number_log, permuted
from gnnrec.datasets.interactions import Interactions
from gnnrec.datasets.raw import LINE, RawDataset
from gnnrec.errors import UserError, count

STEPS = 3  # cleaned, indexed, content attached
DAY = 86_400  # seconds


def assemble(raw: RawDataset, done: Callable[[], object] = lambda: None) -> Dataset:
    """Check, permute and index. Raises UserError where nothing usable is left.

    `done` is called after each of the STEPS, for a progress bar.
    """
    log, users_named, items_named, rejected, below = number_log(raw.log)
    raw = replace(raw, log=raw.log.without_rows())  # nobody else holds them: what was read goes before more is made
    done()
    check_not_empty(log, rejected, len(below), raw)
    num_all, log = len(log), retained(log, raw.log.retention_days, time.time())
    expired = num_all - len(log)
    items = users = None
    item_ids, user_ids = items_named.gather(log["item"].unique()), users_named.gather(log["user"].unique())
    if raw.items is not None:
        items, more = clean_catalog(raw.items, "items")
        rejected += more
        item_ids = items[ID]
    if raw.users is not None:
        users, more = clean_catalog(raw.users, "users")
        rejected += more
        user_ids = pl.concat([users[ID], user_ids]).unique()
    item_order, user_order = permuted(item_ids), permuted(user_ids)
    log, more = index_log(log, raw.log.table.file, (users_named, user_order), (items_named, item_order))
    rejected += more
    check_not_empty(log, rejected, len(below), raw)
    done()
    friends, more = index_friends(raw.friends, user_order)
    rejected += more
    item_catalog, item_features, more = attach(raw.items, items, item_order, raw.root, raw.item_features)
    rejected += more
    user_catalog, user_features, more = attach(raw.users, users, user_order, raw.root, raw.user_features)
    rejected += more
    done()
    interactions, published = order_in_time(log, len(user_order), len(item_order))
    split = raw.split or SplitConfig()
    return Dataset(
        name=raw.name,
        root=raw.root,
        user_ids=tuple(user_order),
        item_ids=tuple(item_order),
        interactions=interactions,
        published_split=published,
        split=split if published is None else replace(split, method="published"),
        items=item_catalog,
        users=user_catalog,
        friends=friends,
        item_features=item_features,
        user_features=user_features,
        below_min_rating=len(below),
        lowest_below=float(below.to_numpy().min()) if len(below) else None,
        retention_days=raw.log.retention_days,
        expired=expired,
        rejected=pl.concat([part.cast(REJECTED_SCHEMA) for part in rejected]),
        licence=raw.licence,
    )


def check_not_empty(log: pl.DataFrame, rejected: Sequence[pl.DataFrame], below: int, raw: RawDataset) -> None:
    if len(log):
        return
    reasons = pl.concat([part.cast(REJECTED_SCHEMA) for part in rejected])
    file = raw.log.table.file
    if not len(reasons):
        least = f"[interactions] min_rating {raw.log.min_rating}"
        raise UserError(f"{file}: no row reaches {least}; {count(below, 'good row')} below it")
    reason, number = reasons["reason"].value_counts(sort=True).row(0)
    first = reasons.filter(pl.col("reason") == reason).row(0, named=True)
    raise UserError(
        f"{file}: no usable row is left; most often: {reason} ({count(number, 'row')}, first in {first['file']}, "
        f"line {first['line']}: {first['value']!r})"
    )


def retained(log: pl.DataFrame, days: float | None, now: float) -> pl.DataFrame:
    """The rows that are at most `days` older than the newest one: not than today, since the same files have to be the
    same dataset tomorrow; `gnnrec policy` says what that is in days from today. Rows of the future, which are wrong, do
    not count as the newest, so that one of them cannot make all others old; where there are no others, all stay."""
    if days is None:
        return log
    newest = pl.col("timestamp").filter(pl.col("timestamp") <= now).max()
    return log.filter((pl.col("timestamp") >= newest - days * DAY).fill_null(True))


def order_in_time(log: pl.DataFrame, num_users: int, num_items: int) -> tuple[Interactions, NDArray[np.int8] | None]:
    if "timestamp" in log.columns and not log["timestamp"].is_sorted():
        log = log.sort("timestamp", maintain_order=True)
    columns = {name: log[name].to_numpy() for name in log.columns if name != LINE}
    published = columns.pop("split", None)
    return Interactions(num_users=num_users, num_items=num_items, **columns), published
