"""From raw strings to typed columns. What does not fit is set aside with its file, line, reason and value."""

from collections.abc import Sequence

import polars as pl

from gnnrec.datasets.dataset import SPLIT_NAMES
from gnnrec.datasets.raw import LINE, RawCatalog, RawLog, RawTable, no_rejections
from gnnrec.errors import UserError

LATEST = 4_102_444_800  # 2100-01-01 in unix seconds
ID = "__id__"  # hidden column of cleaned catalogues

SPLIT_WORDS = {
    **{"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2},
    **{"0": 0, "1": 1, "2": 2},  # MMRec's x_label
}

Check = tuple[str, pl.Expr, str]  # reason, where it holds, the column whose value is shown


def set_aside(frame: pl.DataFrame, file: str, checks: Sequence[Check]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that pass all checks, and the others with the first reason that holds, in REJECTED_SCHEMA."""
    which = pl.coalesce(pl.when(bad).then(pl.lit(number, pl.UInt8)) for number, (_, bad, _) in enumerate(checks))
    number = frame.select(which.alias("number")).to_series()
    if number.null_count() == len(number):
        return frame, no_rejections()
    parts = [
        rejections(frame.filter(number == position), file, reason, column)
        for position, (reason, _, column) in enumerate(checks)
    ]
    return frame.filter(number.is_null()), pl.concat(parts).sort("line", maintain_order=True)


def rejections(frame: pl.DataFrame, file: str, reason: str, column: str) -> pl.DataFrame:
    return frame.select(
        pl.lit(file).alias("file"),
        pl.col(LINE).cast(pl.Int64).alias("line"),
        pl.lit(reason).alias("reason"),
        pl.col(column).cast(pl.String).alias("value"),
    )


def clean_log(raw: RawLog) -> tuple[pl.DataFrame, list[pl.DataFrame], pl.Series]:
    """Typed rows, the rejected ones, and the ratings of the good rows that are below min_rating.

    Columns: user, item (String), timestamp (Int64), rating (Float32; null: feedback without one), split (Int8, -1
    none) as far as there are, LINE.
    """
    table = raw.table
    named = {"user": raw.user, "item": raw.item, "timestamp": raw.timestamp, "rating": raw.rating, "split": raw.split}
    table.require({f"[interactions] {key}": name for key, name in named.items()})
    columns = [as_id(table, raw.user).alias("user"), as_id(table, raw.item).alias("item")]
    checks: list[Check] = [
        ("empty user id", pl.col("user").is_null(), "user"),
        ("empty item id", pl.col("item").is_null(), "item"),
    ]
    if raw.timestamp is not None:
        time, shown = pl.col("timestamp"), "raw timestamp"
        columns += [as_seconds(table, raw.timestamp).alias("timestamp"), pl.col(raw.timestamp).alias(shown)]
        checks += [
            ("timestamp is no number of unix seconds", time.is_finite().not_() | time.is_null(), shown),
            ("negative timestamp", time < 0, shown),
            ("timestamp after the year 2100: milliseconds instead of seconds?", time >= LATEST, shown),
        ]
    if raw.rating is not None:
        rating, shown = pl.col("rating"), "raw rating"
        columns += [as_number(table, raw.rating).alias("rating"), pl.col(raw.rating).alias(shown)]
        told = pl.col(LINE).is_null()  # an event of feedback, which may be without; rows of files have their line
        checks += [("rating is no number", rating.is_finite().fill_null(told).not_(), shown)]
    if raw.split is not None:
        columns += [as_split(table, raw.split).alias("split"), pl.col(raw.split).alias("raw split")]
        checks += [(f"split is none of {', '.join(SPLIT_NAMES)}", pl.col("split").is_null(), "raw split")]
    frame, rejected = set_aside(table.frame.select(*columns, LINE), table.file, checks)
    frame = frame.drop("raw timestamp", "raw rating", "raw split", strict=False)
    if raw.timestamp is not None:
        frame = frame.with_columns(pl.col("timestamp").cast(pl.Int64))
    below = pl.Series("rating", dtype=pl.Float32)
    if raw.min_rating is not None:
        low = (pl.col("rating") < raw.min_rating).fill_null(False)
        below, frame = frame.filter(low)["rating"].cast(pl.Float32), frame.filter(~low)
    if raw.rating is not None:
        frame = frame.with_columns(pl.col("rating").cast(pl.Float32))
    return frame, [table.rejected, rejected], below


def clean_catalog(raw: RawCatalog, where: str) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """The table with a column ID, where each id is there once; its lists as text. And the rejected rows."""
    table = raw.table
    table.require(
        {f"[{where}] id": raw.id}
        | {f"[{where}] text {name!r}": name for name in raw.text}
        | {f"[{where}] {modality}": name for modality, name in raw.media.items()}
    )
    lists = [
        pl.col(name).list.eval(pl.element().cast(pl.String)).list.join(" ", ignore_nulls=True)
        for name in raw.text
        if isinstance(table.frame.schema[name], pl.List)
    ]
    frame = table.frame.with_columns(*lists, as_id(table, raw.id).alias(ID))
    for name in (*raw.text, *raw.media.values()):
        flat(RawTable(file=table.file, frame=frame, num_records=table.num_records), name)
    kept, rejected = set_aside(
        frame,
        table.file,
        [
            ("empty id", pl.col(ID).is_null(), raw.id),
            ("the id is there already", pl.col(ID).is_first_distinct().not_(), raw.id),
        ],
    )
    return kept, [table.rejected, rejected]


def flat(table: RawTable, name: str) -> pl.DataType:
    """The type of a column that has to hold one plain value a row."""
    kind = table.frame.schema[name]
    if kind.is_nested() or kind == pl.Binary:
        raise UserError(f"{table.file}: column {name!r} holds {kind}; text or numbers are needed")
    return kind


def as_id(table: RawTable, name: str) -> pl.Expr:
    """Ids are strings without blanks around them; null where there is none. A whole float is written as a whole."""
    kind, column = flat(table, name), pl.col(name)
    if kind.is_float():
        whole = column.cast(pl.Int64, strict=False)
        column = pl.when(whole == column).then(whole.cast(pl.String)).otherwise(column.cast(pl.String))
    text = column.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def as_number(table: RawTable, name: str) -> pl.Expr:
    kind, column = flat(table, name), pl.col(name)
    return (column.str.strip_chars() if kind == pl.String else column).cast(pl.Float64, strict=False)


def as_seconds(table: RawTable, name: str) -> pl.Expr:
    if isinstance(table.frame.schema[name], (pl.Date, pl.Datetime)):
        return pl.col(name).dt.epoch("s").cast(pl.Float64)
    return as_number(table, name)


def as_split(table: RawTable, name: str) -> pl.Expr:
    """Position in SPLIT_NAMES; -1 where the field is empty, null where the word is unknown."""
    flat(table, name)
    word = pl.col(name).cast(pl.String).str.strip_chars().str.to_lowercase().fill_null("")
    return word.replace_strict({**SPLIT_WORDS, "": -1}, default=None, return_dtype=pl.Int8)
