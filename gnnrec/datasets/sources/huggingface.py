"""Hugging Face `datasets` saved on disk, as a log. For other names of columns write a dataset.toml beside the folder.

Only the log is taken: pictures and sounds inside Arrow files are not unpacked.
"""

from pathlib import Path

from gnnrec.datasets.raw import RawDataset, RawLog
from gnnrec.datasets.sources.columnar import SPLIT, is_arrow_folder, read_arrow_folder
from gnnrec.errors import UserError

NAMES = {  # the names that public logs use
    "user": ("user", "user_id", "userId", "userID", "uid", "reviewerID"),
    "item": ("item", "item_id", "itemId", "itemID", "iid", "movieId", "movie_id", "parent_asin", "asin"),
    "timestamp": ("timestamp", "unixReviewTime", "time"),
    "rating": ("rating", "overall", "score"),
}


def found(folder: Path) -> bool:
    return is_arrow_folder(folder)


def read(folder: Path) -> RawDataset:
    table = read_arrow_folder(folder, ".")
    named = {key: next((name for name in names if name in table.columns), None) for key, names in NAMES.items()}
    user, item = named["user"], named["item"]
    if user is None or item is None:
        key = "user" if user is None else "item"
        raise UserError(
            f"{table.file}: no column {key!r}: none of {', '.join(NAMES[key])}; it has: {', '.join(table.columns)}; "
            "write a dataset.toml beside the folder that names them"
        )
    return RawDataset(
        name=folder.name,
        root=folder,
        log=RawLog(
            table=table,
            user=user,
            item=item,
            timestamp=named["timestamp"],
            rating=named["rating"],
            split=SPLIT if (folder / "dataset_dict.json").is_file() else None,
        ),
    )
