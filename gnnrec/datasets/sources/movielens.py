"""Folders as GroupLens publishes them: ml-latest* (ratings.csv), ml-1m and ml-10m (ratings.dat), ml-100k (u.data)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl

from gnnrec.datasets.raw import RawCatalog, RawDataset, RawLog, RawTable
from gnnrec.datasets.sources.delimited import first_line, read_delimited

LOG = ("user", "item", "rating", "timestamp")
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)


def read_latest(folder: Path) -> RawDataset:
    ratings = read_delimited(folder / "ratings.csv", "ratings.csv")
    items = None
    if (folder / "movies.csv").is_file():
        movies = read_delimited(folder / "movies.csv", "movies.csv")
        text: tuple[str, ...] = ("title", "genres")
        if (folder / "tags.csv").is_file():
            movies = with_tags(movies, read_delimited(folder / "tags.csv", "tags.csv"))
            text = (*text, "tags")
        items = RawCatalog(table=movies, id="movieId", text=text)
    log = RawLog(table=ratings, user="userId", item="movieId", rating="rating", timestamp="timestamp")
    return RawDataset(name=folder.name, root=folder, log=log, items=items)


def with_tags(movies: RawTable, tags: RawTable) -> RawTable:
    """A column `tags` of what users wrote about each film, in the order of the file."""
    movies.require({"id": "movieId"})
    tags.require({"id": "movieId", "text": "tag"})
    of_movie = tags.frame.group_by("movieId", maintain_order=True).agg(tags=pl.col("tag").drop_nulls().str.join(", "))
    frame = movies.frame.join(of_movie, on="movieId", how="left", maintain_order="left")
    return replace(movies, frame=frame, rejected=pl.concat([movies.rejected, tags.rejected]))


def read_dat(folder: Path) -> RawDataset:
    ratings = read_dat_table(folder / "ratings.dat", LOG)
    items = users = None
    if (folder / "movies.dat").is_file():
        movies = read_dat_table(folder / "movies.dat", ("item", "title", "genres"))
        items = RawCatalog(table=movies, id="item", text=("title", "genres"))
    if (folder / "users.dat").is_file():  # numbers for gender, age and occupation: no text
        users = RawCatalog(
            table=read_dat_table(folder / "users.dat", ("user", "gender", "age", "occupation", "zip")), id="user"
        )
    return raw(folder, ratings, items, users)


def read_dat_table(path: Path, header: tuple[str, ...]) -> RawTable:
    return read_delimited(path, path.name, separator="::", header=header, quoted=False, encoding="latin-1")


def read_100k(folder: Path) -> RawDataset:
    ratings = read_delimited(folder / "u.data", "u.data", separator="\t", header=LOG, quoted=False)
    items = users = None
    if (folder / "u.item").is_file():
        header = ("item", "title", "release", "video release", "imdb", *GENRES)
        movies = read_bars(folder / "u.item", header)
        flags = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES]
        frame = movies.frame.with_columns(genres=pl.concat_str(flags, separator="|", ignore_nulls=True)).drop(GENRES)
        items = RawCatalog(table=replace(movies, frame=frame), id="item", text=("title", "genres"))
    if (folder / "u.user").is_file():
        table = read_bars(folder / "u.user", ("user", "age", "gender", "occupation", "zip"))
        users = RawCatalog(table=table, id="user", text=("occupation",))
    return raw(folder, ratings, items, users)


def read_bars(path: Path, header: tuple[str, ...]) -> RawTable:
    return read_delimited(path, path.name, separator="|", header=header, quoted=False, encoding="latin-1")


def raw(folder: Path, ratings: RawTable, items: RawCatalog | None, users: RawCatalog | None) -> RawDataset:
    log = RawLog(table=ratings, user="user", item="item", rating="rating", timestamp="timestamp")
    return RawDataset(name=folder.name, root=folder, log=log, items=items, users=users)


KINDS: dict[str, Callable[[Path], RawDataset]] = {  # the file that shows the kind -> its reader
    "ratings.csv": read_latest,
    "ratings.dat": read_dat,
    "u.data": read_100k,
}


def found(folder: Path) -> bool:
    # Other logs are called ratings.csv too: this one has its own names of columns.
    latest = first_line(folder / "ratings.csv").startswith("userId,movieId")
    return latest or any((folder / name).is_file() for name in ("ratings.dat", "u.data"))


def read(folder: Path) -> RawDataset:
    return next(read for name, read in KINDS.items() if (folder / name).is_file())(folder)
