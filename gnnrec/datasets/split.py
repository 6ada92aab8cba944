"""Cutting a log into train, val and test. Letters: E rows, U users."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets.dataset import SPLIT_NAMES, Dataset, SplitConfig
from gnnrec.datasets.interactions import Interactions, join_logs, rows_of_users
from gnnrec.errors import UserError

TRAIN, VAL, TEST = range(len(SPLIT_NAMES))
NONE = -1
MIN_HISTORY = 3  # users with fewer rows are all train: one row each for train, val and test

Part = NDArray[np.int8]  # [E] position in SPLIT_NAMES, -1 for a row in none of them


@dataclass(frozen=True, slots=True)
class Split:
    """Three logs over the same users and items, each in the order of the whole log."""

    train: Interactions
    val: Interactions
    test: Interactions


def split(dataset: Dataset, config: SplitConfig | None = None) -> Split:
    """Cut the log as `config` says, by default as the dataset does.

    published    the column of the log; where it has no val, val_share of each user's train rows is drawn for it
    leave_last   of each user the last row in time is test, the one before it val; ties keep the order of the file
    user_time    of each user the last test_share of rows is test, val_share before it val, at least one row each
    global_time  the last test_share of all rows is test, val_share before it val; one moment is never divided
    random       as user_time, in an order drawn with `seed`, which does not depend on the order of the rows
    auto         published where there is the column, else leave_last, without timestamps random

    Users with fewer than three rows are all train, except by published and global_time. With min_core k, rows of
    users and items with fewer than k rows are left out first, again and again until none is left; the ids stay.
    It counts all rows, also those that become test, as published k-core sets do: which users and items are measured
    at all thus depends a little on the test rows.

    With `users`, only so many users are measured on: all rows of the others are train or, by published and global_time,
    which say themselves what is no train row, in none of the three.

    Raises UserError where the method needs what the log has not, and where nothing is left to train on.
    """
    config = config or dataset.split
    log, published = dataset.interactions, dataset.published_split
    core = np.flatnonzero(k_core(log, config.min_core))
    log, published = log.rows(core), None if published is None else published[core]
    method = config.method
    if method == "auto":
        method = "published" if published is not None else "random" if log.timestamp is None else "leave_last"
    if method == "published":
        part = by_column(log, published, config)
    elif method != "random" and log.timestamp is None:
        raise UserError(f"split: method {method!r} needs timestamps and {dataset.name} has none; allowed: random")
    else:
        part = METHODS[method](log, config)
    if config.users and method in ("published", "global_time"):
        some = np.unique(log.user[part > TRAIN])
        part[(part > TRAIN) & ~drawn(np.isin(np.arange(log.num_users), some), config)[log.user]] = NONE
    if not (part == TRAIN).any():
        raise UserError(f"split: method {method!r} leaves no row of {dataset.name} to train on")
    train, val, test = (log.rows(part == number) for number in range(len(SPLIT_NAMES)))
    return Split(train, val, test)


def in_order(first: Interactions, second: Interactions) -> bool:
    """Whether no user has a row in `second` that is older than one of hers in `first`.

    Only then may a model use the order of `first`: where the parts lie mixed in time, as in random splits, what a user
    did last in train is no better a guide to the rest than what she did first, and partly happened after it.
    """
    if first.timestamp is None or second.timestamp is None:
        return False
    last = np.full(first.num_users, np.iinfo(np.int64).min)
    np.maximum.at(last, first.user, first.timestamp)
    return bool(np.all(second.timestamp >= last[second.user]))


def settled(parts: Split, train: Interactions, val: Interactions) -> Split:
    """The split with what a run learnt left learnt: of val and test, rows that it trained on are train, and of test
    those too that it selected by. No row of a split along time is concerned, unless it came late."""
    learnt, chosen = same_rows(parts.test, train), same_rows(parts.test, val)
    again = same_rows(parts.val, train)
    test, left = parts.test.rows(~(learnt | chosen)), parts.val.rows(~again)
    grown = join_logs(join_logs(parts.train, parts.val.rows(again)), parts.test.rows(learnt | chosen))
    return Split(grown, left, test)


def same_rows(log: Interactions, other: Interactions) -> NDArray[np.bool_]:
    """Which rows of `log` are in `other` too: the same user, item and time. [E]"""
    named = ("user", "item", *(() if log.timestamp is None else ("timestamp",)))
    first, second = (pl.DataFrame({name: getattr(part, name) for name in named}) for part in (log, other))
    found = first.with_row_index("row").join(second, on=named, how="semi")["row"].to_numpy()
    same = np.zeros(len(log), dtype=bool)
    same[found] = True
    return same


def k_core(log: Interactions, k: int) -> NDArray[np.bool_]:
    """The rows whose user and item both have at least k rows among the rows kept. [E]"""
    keep = np.ones(len(log), dtype=bool)
    while True:
        users = np.bincount(log.user[keep], minlength=log.num_users)
        items = np.bincount(log.item[keep], minlength=log.num_items)
        still = keep & (users[log.user] >= k) & (items[log.item] >= k)
        if still.sum() == keep.sum():
            return keep
        keep = still


def by_column(log: Interactions, published: Part | None, config: SplitConfig) -> Part:
    if published is None:
        raise UserError("split: method 'published' needs a column: [interactions] split in dataset.toml")
    part = published.copy()
    if not (part == VAL).any():
        train = np.flatnonzero(part == TRAIN)
        lots = random(log.rows(train), replace(config, test_share=0.0, users=0))
        part[train[lots == VAL]] = VAL
    return part


def leave_last(log: Interactions, config: SplitConfig) -> Part:
    one = drawn(sizes(log) >= MIN_HISTORY, config).astype(np.int64)
    return cut_users(log, np.arange(len(log)), one, one)


def user_time(log: Interactions, config: SplitConfig) -> Part:
    return cut_users(log, np.arange(len(log)), *shares(log, config))


def random(log: Interactions, config: SplitConfig) -> Part:
    # Lots are dealt in the order of (user, item, time), so that the order of the rows has no say.
    keys = (log.item, log.user) if log.timestamp is None else (log.timestamp, log.item, log.user)
    lot = np.empty(len(log))
    lot[np.lexsort(keys)] = np.random.default_rng(config.seed).random(len(log))
    return cut_users(log, lot, *shares(log, config))


def global_time(log: Interactions, config: SplitConfig) -> Part:
    assert log.timestamp is not None
    part = np.full(len(log), TRAIN, dtype=np.int8)
    for number, share in ((VAL, config.val_share + config.test_share), (TEST, config.test_share)):
        cut = len(log) - round(len(log) * share)
        if cut < len(log):
            part[np.searchsorted(log.timestamp, log.timestamp[cut], side="left") :] = number
    return part


METHODS: dict[str, Callable[[Interactions, SplitConfig], Part]] = {
    "leave_last": leave_last,
    "user_time": user_time,
    "global_time": global_time,
    "random": random,
}


def sizes(log: Interactions) -> NDArray[np.int64]:
    """Rows of each user. [U]"""
    return np.bincount(log.user, minlength=log.num_users)


def shares(log: Interactions, config: SplitConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many rows of each user are val and test: the share, rounded, at least one, and one row is left for train."""
    size = sizes(log)
    num_test = np.maximum(np.rint(size * config.test_share).astype(np.int64), config.test_share > 0)
    num_val = np.maximum(np.rint(size * config.val_share).astype(np.int64), config.val_share > 0)
    num_test = np.minimum(num_test, size - 1 - (config.val_share > 0))
    num_val = np.minimum(num_val, size - 1 - num_test)
    enough = drawn(size >= MIN_HISTORY, config)
    return np.where(enough, num_val, 0), np.where(enough, num_test, 0)


def drawn(users: NDArray[np.bool_], config: SplitConfig) -> NDArray[np.bool_]:
    """Of a mask of users [U] all, or `config.users` at most, each as likely as the next."""
    if not config.users:
        return users
    chosen = np.random.default_rng(config.seed).permutation(np.flatnonzero(users))[: config.users]
    sample = np.zeros_like(users)
    sample[chosen] = True
    return sample


def cut_users(
    log: Interactions, order: NDArray[np.generic], num_val: NDArray[np.int64], num_test: NDArray[np.int64]
) -> Part:
    """Of each user the last `num_test` rows by `order` are test, the `num_val` before them val."""
    part = np.full(len(log), TRAIN, dtype=np.int8)
    end = np.cumsum(sizes(log))
    begin = end - sizes(log)
    for some in rows_of_users(log.user, log.num_users):
        rows = some[np.lexsort((order[some], log.user[some]))]  # user by user, each in order
        user = log.user[rows]
        if len(rows):
            left = end[user] - begin[user[0]] - np.arange(len(rows))  # 1 for a user's last row, 2 for the one before
            part[rows[left <= num_test[user] + num_val[user]]] = VAL
            part[rows[left <= num_test[user]]] = TEST
    return part


REPORT = {
    "method": pl.String,
    "train": pl.Int64,
    "val": pl.Int64,
    "test": pl.Int64,
    "test_users": pl.Int64,
    "test_users_without_train": pl.Float64,
    "cold_test_items": pl.Int64,
    "remark": pl.String,
}


def split_report(dataset: Dataset) -> pl.DataFrame:
    """What each method that the log allows would give, one row a method.

    Columns: method, train, val, test (rows), test_users, test_users_without_train (share of them),
    cold_test_items (items in test that train does not have), remark (why a method cannot cut this log; the rest of its
    row is empty then).
    """
    rows: list[dict[str, Any]] = []
    for method in ("published", *METHODS):
        missing = dataset.published_split if method == "published" else dataset.interactions.timestamp
        if missing is None and method != "random":
            continue
        try:
            cut = split(dataset, replace(dataset.split, method=method))
        except UserError as error:
            rows.append({"method": method, "remark": str(error)})
            continue
        users = np.unique(cut.test.user)
        rows.append(
            {
                "method": method,
                "train": len(cut.train),
                "val": len(cut.val),
                "test": len(cut.test),
                "test_users": len(users),
                "test_users_without_train": 1 - np.isin(users, cut.train.user).mean() if len(users) else 0.0,
                "cold_test_items": len(np.setdiff1d(cut.test.item, cut.train.item)),
                "remark": None,
            }
        )
    return pl.DataFrame(rows, schema=REPORT)
