"""Tables of datasets in other shapes than one log and one list of items, and files of single vectors and models."""

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pyarrow as pa
from target import Target

from gnnrec.audit.membership import read_rows
from gnnrec.datasets import Dataset
from gnnrec.language.gguf_file import GgufFile
from gnnrec.privacy.vectors import read as read_vector

if TYPE_CHECKING:
    from targets import Workshop

LOG = b"user,item\na,x\nb,y\na,y\n"
USERS = b"user,age,bio\na,30,Ay\nb,,Bee\n"
FRIENDS = b"user,friend\na,b\n"
TOML = (
    b'[interactions]\npath = "log.csv"\n[users]\npath = "users.csv"\ntext = "bio"\nfriends = "friends.csv"\n[items]\n'
    b'path = "items.csv"\ntext = "title"\n'
)
SQL_TOML = b"[interactions]\nuri = 'sqlite:///log.db'\nquery = 'SELECT user, item FROM log'\n"
SHARED = b"userID\titemID\tx_label\n0\t0\t0\n0\t1\t1\n1\t1\t0\n"
STARS = b"userId,movieId,rating,timestamp\n1,10,4.0,20\n2,11,3.5,10\n"
MOVIES = b'movieId,title,genres\n10,"Ex, The (1999)",Drama|War\n11,Heat (1995),Action\n'
OLD_STARS = b"1\t10\t4.0\t20\n2\t11\t3.5\t10\n"
OLD_MOVIES = b"10|Ex (1999)|01-Jan-1999||http://x" + b"|0" * 19 + b"\n11|Why (1995)|01-Jan-1995||http://y" + b"|1" * 19
PARTS = {"state.json": b'{"_data_files": [{"filename": "data.arrow"}]}', "dataset_info.json": b"{}"}


def table_targets(place: Path, shop: "Workshop") -> Iterator[tuple[str, Callable[[], Target]]]:
    people = {"log.csv": LOG, "users.csv": USERS, "friends.csv": FRIENDS, "items.csv": b"item,title\nx,Ex\ny,Why\n"}
    for name in ("users.csv", "friends.csv"):
        yield name, lambda name=name: Target(shop.dataset(name, people | {"dataset.toml": TOML}), (people[name],))
    yield "log.db", lambda: Target(shop.dataset("log.db", {"dataset.toml": SQL_TOML}), (database(place / "made.db"),))
    yield "mmrec/image_feat.npy", lambda: Target(shop.dataset("image_feat.npy", {"a.inter": SHARED}), (npy(2, 3),))
    yield "movielens/movies.csv", lambda: Target(shop.dataset("movies.csv", {"ratings.csv": STARS}), (MOVIES,))
    yield "movielens/u.item", lambda: Target(shop.dataset("u.item", {"u.data": OLD_STARS}), (OLD_MOVIES,))
    arrow = PARTS | {"data.arrow": stream()}
    for name in ("state.json", "data.arrow"):
        yield f"arrow/{name}", lambda name=name: Target(shop.dataset(name, arrow), (arrow[name],))
    yield "arrow/dataset_dict.json", lambda: parts(place / "arrow-dict", arrow)
    yield "user-vector", lambda: Target(shop.file("me.npy", read_vector), (npy(4),))
    yield "audit", lambda: Target(shop.file("audit.npy", lambda path: read_rows(path, 3)), (npy(2, 3),))
    yield "model.gguf", lambda: Target(shop.file("model.gguf", whole), (model(place / "made.gguf"),))


def database(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as made, made:
        made.execute("CREATE TABLE log (user TEXT, item TEXT)")
        made.executemany("INSERT INTO log VALUES (?, ?)", [("a", "x"), ("b", "y")])
    return path.read_bytes()


def npy(*shape: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(shape), allow_pickle=False)
    return buffer.getvalue()


def stream() -> bytes:
    buffer, table = io.BytesIO(), pa.table({"user": ["a", "b"], "item": ["x", "y"]})
    with pa.ipc.new_stream(buffer, table.schema) as out:
        out.write_table(table)
    return buffer.getvalue()


def parts(folder: Path, files: dict[str, bytes]) -> Target:
    """A `DatasetDict` of one part."""
    (folder / "train").mkdir(parents=True)
    for name, content in files.items():
        (folder / "train" / name).write_bytes(content)

    def read(data: bytes) -> object:
        (folder / "dataset_dict.json").write_bytes(data)
        return Dataset.load(folder)

    return Target(read, (json.dumps({"splits": ["train"]}).encode(),))


def model(path: Path) -> bytes:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(8)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_tensor("output.weight", np.ones((2, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def whole(path: Path) -> object:
    file = GgufFile(path)
    return [file.tensor(name) for name in file.tensors]
