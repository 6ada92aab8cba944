"""Make data/music from the Emotify data: annotations.csv.gz, items.csv.gz and clips/.

    python scripts/make_music.py path/to/emotify data/music

A listener id was never published: the user is the cohort (age, gender, mother tongue). Of one cohort and song the
answers are averaged: liked 1, disliked 0, neither or both 0.5. Rows at 0.5 and below are kept: they are answers too.
"""

import shutil
import sys
from pathlib import Path

import polars as pl

DESCRIPTION = """\
name = "music"
licence = "Emotify annotations: research; songs: Magnatune, CC BY-NC-SA; see LICENCE.md"
[interactions]
path = "interactions.csv.gz"
user = "user"
item = "item"
rating = "rating"        # 1 liked, 0 disliked, 0.5 neither; the mean where a cohort answered several times
min_rating = 0.6         # what was liked more often than not
[split]
method = "random"        # there are no timestamps
[items]
path = "items.csv.gz"
id = "item"
text = ["title", "genre"]
audio = "clip"
"""


def make(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    answers = pl.read_csv(source / "annotations.csv.gz")
    rating = (pl.col("liked") - pl.col("disliked") + 1) / 2
    log = answers.group_by(pl.col("cohort").alias("user"), "item", maintain_order=True).agg(rating.mean().round(4))
    log.rename({"liked": "rating"}).write_csv(target / "interactions.csv.gz", compression="gzip")
    number = pl.col("file").str.extract(r"(\d+)\.mp3$")
    title = pl.format("{} {}", pl.col("genre").str.to_titlecase(), number).alias("title")
    songs = pl.read_csv(source / "items.csv.gz").select("item", title, "genre", "clip")
    songs.write_csv(target / "items.csv.gz", compression="gzip")
    shutil.copytree(source / "clips", target / "clips", dirs_exist_ok=True)
    (target / "dataset.toml").write_text(DESCRIPTION, encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
