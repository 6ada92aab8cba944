"""The log: rows that loading sets aside, impossible times, the same row twice, ratings off the scale, users like bots.

Letters: E rows of the log, U users.
"""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl

from gnnrec.cleaning.contents import Contents
from gnnrec.cleaning.finding import DropRow, DropUser, Finding, shorten
from gnnrec.cleaning.settings import CleanConfig
from gnnrec.datasets.raw import LINE
from gnnrec.errors import count

HOUR, DAY = 3600, 86_400
EARLIEST = 631_152_000  # 1990-01-01, before which nobody clicked
FEW = 0.01  # share of rows before 1990 up to which they are mistakes; more of them are another way to count time
MOST_POINTS = 101  # ratings of a scale of points; more kinds are amounts, such as plays
EVEN = 0.9  # share of a user's steps that are alike, as no person takes them
SHORTEST_STEP = 5  # seconds; shorter ones are alike by rounding
FEWEST_USERS = 100  # by which busy ones are told


def find_set_aside(contents: Contents) -> Iterator[Finding]:
    """bad-rows, which no reading keeps, and those of timestamps that it notices."""
    log_file = contents.raw.log.table.file
    for file, line, reason, value in contents.rejected.iter_rows():
        kind = "timestamps" if file == log_file and "timestamp" in reason else "bad-rows"
        edit = DropRow(line) if file == log_file and line is not None else None
        yield Finding(kind=kind, file=file, line=line, value=shorten(value), reason=reason, edit=edit)


def find_timestamps(contents: Contents, now: float) -> Iterator[Finding]:
    """timestamps: after tomorrow, and before 1990 where nearly all others are not."""
    if "timestamp" not in contents.log.columns:
        return
    time = contents.log["timestamp"]
    yield from rows(contents, time > now + DAY, "timestamps", "timestamp", "in the future", when)
    early = time < EARLIEST
    if early.sum() <= FEW * len(time):
        yield from rows(contents, early, "timestamps", "timestamp", "before 1990, where the others are not", when)


def when(second: int) -> str:
    return f"{second} ({datetime.fromtimestamp(second, UTC).date()})"


def find_ratings(contents: Contents, config: CleanConfig) -> Iterator[Finding]:
    """ratings: outside of the scale that rating_share of the rows use.

    Where there are more than MOST_POINTS kinds of ratings on it, they are amounts, which have no edge: then only what
    is off by more than the whole width; so too where that share leaves less than a row at either end, which may be the
    one that a scale's last point has.
    """
    if "rating" not in contents.log.columns or not len(contents.log):
        return
    rating = contents.log["rating"]
    share = len(rating) * (1 - config.rating_share) / 2  # of rows that may be off at either end
    tail = min(math.ceil(round(share, 6)), (len(rating) - 1) // 2)
    ordered = rating.sort()
    low, high = ordered[tail], ordered[len(ordered) - 1 - tail]
    amounts = rating.filter(rating.is_between(low, high)).n_unique() > MOST_POINTS
    slack = high - low if amounts or share < 1 else 0
    off = (rating < low - slack) | (rating > high + slack)
    reason = f"outside of {low:g} to {high:g}, which {config.rating_share:.1%} of the ratings use"
    yield from rows(contents, off, "ratings", "rating", reason, lambda value: f"{value:g}")


def find_repetitions(contents: Contents, log: pl.DataFrame) -> Iterator[Finding]:
    """duplicate-interactions: user, item and time (if there are any) of a row before.

    `log`: rows of the contents, with the items that they have by now. Of equal rows the first stays that reaches
    min_rating, since the others are not read.
    """
    keys = [name for name in ("user", "item", "timestamp") if name in log.columns]
    least = contents.raw.log.min_rating
    if least is not None:
        log = log.sort(pl.col("rating") < least, maintain_order=True)
    again = log.filter(pl.struct(keys).is_first_distinct().not_()).sort(LINE)
    reason = f"the same {'user, item and time' if len(keys) == 3 else 'user and item'} as another row"
    for user, item, line in again.select("user", "item", LINE).iter_rows():
        yield Finding(
            kind="duplicate-interactions",
            file=contents.raw.log.table.file,
            line=line,
            value=f"{user},{item}",
            reason=reason,
            edit=DropRow(line),
        )


def find_bots(contents: Contents, config: CleanConfig) -> Iterator[Finding]:
    """bots: the first of these that holds for a user of at least bot_rows rows.

    Steps of one length between the rows, the catalogue taken in its order, bot_hour rows within an hour (all three only
    where times are finer than hours); bot_same rows with one rating; bot_times as many rows as the busiest hundredth of
    users begins with.
    """
    log = contents.log
    sizes = log.group_by("user").len()
    users = sizes.filter(pl.col("len") >= config.bot_rows)
    if not len(users):
        return
    reasons: dict[str, str] = {}
    if "timestamp" in log.columns and np.mean(log["timestamp"].to_numpy() % HOUR == 0) < EVEN:
        timed = log.filter(pl.col("user").is_in(users["user"].implode())).sort("user", "timestamp", maintain_order=True)
        reasons |= hasty(timed, config) | walking(timed, contents, config) | even(timed, config)
    if "rating" in log.columns:
        reasons = unmoved(log, config) | reasons
    if len(sizes) >= FEWEST_USERS:
        edge = config.bot_times * float(np.quantile(sizes["len"].to_numpy(), 0.99))
        busy = users.filter(pl.col("len") > edge)
        reasons = {
            user: f"{count(size, 'row')}, over {config.bot_times:g} times what the busiest 1 % of users begins with"
            for user, size in busy.iter_rows()
        } | reasons
    for user in sorted(reasons):
        yield Finding(
            kind="bots",
            file=contents.raw.log.table.file,
            id=user,
            value=user,
            reason=reasons[user],
            edit=DropUser(user),
        )


def hasty(timed: pl.DataFrame, config: CleanConfig) -> dict[str, str]:
    span = pl.col("timestamp").shift(-(config.bot_hour - 1)).over("user") - pl.col("timestamp")
    found = timed.filter(span < HOUR)["user"].unique()
    return {user: f"{count(config.bot_hour, 'row')} or more within an hour" for user in found}


def even(timed: pl.DataFrame, config: CleanConfig) -> dict[str, str]:
    steps = timed.select("user", step=pl.col("timestamp").diff().over("user")).filter(pl.col("step") > 0)
    middle = pl.col("step").median().over("user")
    near = (pl.col("step") - middle).abs() <= pl.max_horizontal(pl.lit(1.0), middle * 0.05)
    steps = steps.with_columns(near=near)
    shares = steps.group_by("user").agg(near=pl.col("near").mean(), middle=pl.col("step").median(), steps=pl.len())
    found = shares.filter(
        (pl.col("near") >= EVEN) & (pl.col("middle") >= SHORTEST_STEP) & (pl.col("steps") >= config.bot_rows - 1)
    )
    return {
        user: f"{share:.0%} of {count(steps, 'step')} between rows take {middle:g} s"
        for user, share, middle, steps in found.iter_rows()
    }


def walking(timed: pl.DataFrame, contents: Contents, config: CleanConfig) -> dict[str, str]:
    if contents.items is None:
        return {}
    places = pl.DataFrame({"item": contents.items.ids}).with_row_index("place")
    placed = timed.join(places, on="item", how="left", maintain_order="left")
    steps = placed.select(
        "user",
        next=pl.col("place").cast(pl.Int64).diff().over("user") == 1,
        later=pl.col("timestamp").diff().over("user") > 0,  # rows of one second may stand in any order
    ).drop_nulls()
    shares = steps.group_by("user").agg(share=(pl.col("next") & pl.col("later")).mean(), steps=pl.len())
    found = shares.filter((pl.col("share") >= EVEN) & (pl.col("steps") >= config.bot_rows - 1))
    return {
        user: f"takes the catalogue in its order in {share:.0%} of {count(steps, 'step')}"
        for user, share, steps in found.iter_rows()
    }


def unmoved(log: pl.DataFrame, config: CleanConfig) -> dict[str, str]:
    """Not of ratings that nearly all rows have."""
    if np.unique(log["rating"].to_numpy(), return_counts=True)[1].max(initial=0) >= EVEN * len(log):
        return {}
    users = log.group_by("user").agg(pl.len(), kinds=pl.col("rating").n_unique(), rating=pl.col("rating").first())
    found = users.filter((pl.col("kinds") == 1) & (pl.col("len") >= config.bot_same))
    return {
        user: f"the rating {rating:g} in all of {count(size, 'row')}"
        for user, size, rating in found.select("user", "len", "rating").iter_rows()
    }


def rows(
    contents: Contents, which: pl.Series, kind: str, column: str, reason: str, show: Callable[[Any], str]
) -> Iterator[Finding]:
    for line, user, item, value in contents.log.filter(which).select(LINE, "user", "item", column).iter_rows():
        yield Finding(
            kind=kind,
            file=contents.raw.log.table.file,
            line=line,
            column=column,
            value=f"{user},{item}: {show(value)}",
            reason=reason,
            edit=DropRow(line),
        )
