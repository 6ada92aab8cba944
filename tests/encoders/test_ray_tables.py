"""Items in Parquet that workers read themselves: the contents are those of the dataset, and none is encoded twice."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Dataset
from gnnrec.datasets.sources.streamed import streamed_tables
from gnnrec.encoders import EncodersConfig, encode_dataset, ray_tables, unusable_content
from gnnrec.encoders.ray_engine import Actors
from gnnrec.encoders.ray_tables import Filled, RowEncoder, fill_from_tables
from gnnrec.errors import UserError

POSTERS = EncodersConfig(text="none", image="opencv", audio="none")  # needs no model
TEXT = '[items]\npath = "items.parquet"\nid = "item"\ntext = ["title", "tags", "year"]\nimage = "poster"\n'


@pytest.fixture
def in_parquet(tiny_data: Path, tmp_path: Path) -> Path:
    """tiny_data with its items in Parquet: i1 has i0's picture, i2's is broken, i3's is not there."""
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    items = pl.read_csv(folder / "items.csv").with_columns(
        poster=pl.when(pl.col("item") == "i1").then(pl.lit("posters/0.png")).otherwise("poster"),
        tags=pl.when(pl.col("item") != "i4").then(pl.concat_list(pl.lit(" loud "), pl.col("genres"))),
        year=pl.int_range(pl.len()) + 1990,
    )
    items.write_parquet(folder / "items.parquet")
    (folder / "posters" / "2.png").write_bytes(b"no picture")
    (folder / "posters" / "3.png").unlink()
    log = (folder / "dataset.toml").read_text().partition("[items]")[0]
    (folder / "dataset.toml").write_text(log + TEXT)
    return folder


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The engine in this process, five rows a part, then seven, and so on; how many contents each part encoded."""
    encoded, sizes = list[int](), itertools.count(5, 2)

    def here(table: Any, modality: str, config: EncodersConfig, shards: Path, cache: Path, workers: Actors) -> Any:
        actor = RowEncoder(table, modality, config, str(shards), str(cache))
        for rows in pl.read_parquet(table.path, columns=table.columns(modality)).iter_slices(next(sizes)):
            told = ray_tables.Told(**json.loads(actor(rows.to_arrow())["told"][0]))
            encoded.append(told.encoded)
            yield told

    monkeypatch.setattr(ray_tables, "_run", here)
    return encoded


def filled(folder: Path, cache: Path, **more: Any) -> Filled:
    return fill_from_tables(folder, POSTERS, Actors(number=1, **more), cache_dir=cache)


def test_texts_of_some_rows_are_those_of_the_dataset(in_parquet: Path) -> None:
    [table] = streamed_tables(in_parquet)
    dataset = Dataset.load(in_parquet)
    assert dataset.items is not None
    of = dict(zip(dataset.item_ids, dataset.items.content("text")))
    frame = pl.read_parquet(table.path)
    found = [text for rows in frame.iter_slices(5) for text in table.contents(rows, "text")[0]]
    assert found == [of[item] for item in frame["item"]]
    assert found[3:5] == ["Title 3. loud  Comedy|Drama. 1993", "Title 4. 1994"]


def test_what_workers_made_is_what_training_looks_for(in_parquet: Path, parts: list[int], tmp_path: Path) -> None:
    made = filled(in_parquet, tmp_path / "cache")
    dataset = Dataset.load(in_parquet)
    [expected] = encode_dataset(dataset, POSTERS, cache_dir=tmp_path / "loop")[0].values()
    # 32 items: i1 shows what i0 does, i2's picture is broken, i3's is not there, i5 names none
    assert sum(parts) == made.now["items"]["image"] == 28
    [row] = made.rows
    assert (row["owner"], row["modality"], row["rows"]) == ("items", "image", 32)
    assert row["encoded"] == expected.mask.sum() == 29 and row["unusable"] == 2
    assert (row["encoder"], row["dimensions"]) == (expected.encoder, expected.values.shape[1])
    told = unusable_content(dataset, {"image": expected}, {}).with_columns(line=None)
    assert sorted(made.rejected, key=str) == sorted(told.to_dicts(), key=str)
    [again] = encode_dataset(dataset, POSTERS, cache_dir=tmp_path / "cache")[0].values()
    np.testing.assert_allclose(again.values, expected.values, rtol=1e-6)
    assert filled(in_parquet, tmp_path / "cache").now == {"items": {"image": 0}}


def test_shards_of_a_lost_call_are_taken_first(in_parquet: Path, parts: list[int], tmp_path: Path) -> None:
    """The driver was killed: its cache is gone, the shards are there. Parts hold other rows than before."""
    filled(in_parquet, tmp_path / "first", shards=tmp_path / "shards")
    shutil.rmtree(tmp_path / "first")
    parts.clear()
    made = filled(in_parquet, tmp_path / "second", shards=tmp_path / "shards")
    assert sum(parts) == 0 and made.rows[0]["encoded"] == 29


def test_what_is_wrong_is_one_line(in_parquet: Path, tmp_path: Path) -> None:
    def refused(found: str, columns: tuple[str, ...] = ()) -> None:
        with pytest.raises(UserError, match=found):
            streamed_tables(in_parquet, columns)

    refused("encoders.columns: found 'colour'; allowed: item, title", ("colour",))
    told = (in_parquet / "dataset.toml").read_text()
    (in_parquet / "dataset.toml").write_text(told.replace('"year"', '"colour"'))
    refused(r"data/items.parquet: no column 'colour' \(\[items\] text 'colour'\)")
    (in_parquet / "dataset.toml").write_text(told.replace("items.parquet", "items.csv"))
    refused(r"data/dataset.toml: \[items\] path: found 'items.csv'; allowed for encode --stream: .parquet files")
    (in_parquet / "dataset.toml").write_text(told)
    (in_parquet / "items.parquet").write_bytes((in_parquet / "items.parquet").read_bytes()[:200])
    refused("data/items.parquet: not a whole Parquet file")
    (in_parquet / "dataset.toml").unlink()
    refused(r"data: no dataset.toml in it, which has to name .parquet files for encode --stream")


def test_the_command_asks_for_ray(run_command: Any, in_parquet: Path) -> None:
    status, _, err = run_command("encode", in_parquet, "--stream")
    assert status == 2 and err.splitlines()[-1] == "gnnrec: encode --stream: goes with --engine ray"
