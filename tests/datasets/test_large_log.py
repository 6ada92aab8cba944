"""Logs that are read a part at a time and features that stay on disk give what reading at once gives."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec import scratch
from gnnrec.datasets import Dataset, index, interactions, split
from gnnrec.datasets.index import Numbers
from gnnrec.datasets.interactions import rows_of_users
from gnnrec.encoders import EncodersConfig, encode_dataset
from gnnrec.fingerprints import catalog_fingerprint, content_fingerprint, fingerprint
from gnnrec.graph import build_graph

TOLD = """
[interactions]
path = "log.parquet"
timestamp = "at"
rating = "stars"
min_rating = 2
[items]
path = "items.parquet"
text = ["title"]
[features.image]
path = "image.npy"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """600 rows out of order, some of them twice, some of unknown items, some broken."""
    random = np.random.default_rng(0)
    rows = {
        "user": random.integers(0, 40, 600),
        "item": random.integers(0, 34, 600),
        "at": random.integers(0, 90, 600),
        "stars": random.integers(1, 6, 600),
    }
    frame = pl.DataFrame(rows).with_columns(pl.when(pl.col("item") != 7).then("user"), at=pl.col("at") - 1)
    pl.concat([frame, frame.head(50)]).write_parquet(tmp_path / "log.parquet")
    items = [f"{item}" for item in range(30)]
    pl.DataFrame({"item": items, "title": items}).write_parquet(tmp_path / "items.parquet")
    values = random.normal(size=(30, 5)).astype(np.float16)
    values[4], values[5], values[6, 2] = 0, np.nan, np.inf
    np.save(tmp_path / "image.npy", values)
    (tmp_path / "dataset.toml").write_text(TOLD)
    return tmp_path


def test_parts_of_a_log_are_one_log(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Dataset.load(folder)
    cut = split(whole)
    monkeypatch.setattr(index, "PART_ROWS", 7)
    monkeypatch.setattr(interactions, "ROWS_AT_ONCE", 50)
    parts = Dataset.load(folder)
    assert fingerprint(parts) == fingerprint(whole)
    assert parts.rejected.equals(whole.rejected)
    assert parts.below_min_rating == whole.below_min_rating > 0
    assert parts.lowest_below == whole.lowest_below is not None
    assert set(whole.rejected["reason"].str.slice(0, 8)) == {"empty us", "negative", "item id ", "duplicat", "features"}
    for name in ("train", "val", "test"):
        assert np.array_equal(getattr(split(parts), name).item, getattr(cut, name).item)


def test_features_on_disk_are_those_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> tuple[str, str]:
        dataset = Dataset.load(folder)
        items, users = encode_dataset(dataset, EncodersConfig(text="none"))
        graph = build_graph(dataset.interactions, items, users)
        return catalog_fingerprint(dataset), content_fingerprint(graph)

    whole = made()
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 80)
    assert made() == whole
    values = Dataset.load(folder).item_features["image"]
    assert not values.flags.owndata
    stored, ids = np.load(folder / "image.npy"), Dataset.load(folder).item_ids
    for row, name in enumerate(ids):
        expected = np.full(5, np.nan) if name in "456" else stored[int(name)].astype(np.float32)
        assert np.array_equal(values[row], expected, equal_nan=True)


def test_numbers_go_on_from_part_to_part() -> None:
    numbers = Numbers()
    assert numbers.of(pl.Series(["b", "a", "b"])).to_list() == [0, 1, 0]
    assert numbers.of(pl.Series(["c", "a", "d"])).to_list() == [2, 1, 3]
    assert numbers.ids().to_list() == ["b", "a", "c", "d"]


def test_rows_come_user_by_user_and_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    user = np.random.default_rng(0).integers(0, 12, 100).astype(np.int32)
    user[:40] = 3
    monkeypatch.setattr(interactions, "ROWS_AT_ONCE", 20)
    parts = list(rows_of_users(user, 12))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(100))
    assert len(parts) > 3 and all((np.diff(rows) > 0).all() for rows in parts)
    assert sum(len(np.unique(user[rows])) for rows in parts) == len(np.unique(user))
