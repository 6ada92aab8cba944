"""Shards of features: what a worker leaves is found by its content and never made twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnnrec.datasets import Dataset
from gnnrec.encoders import EncodersConfig, encode_catalog, ray_engine
from gnnrec.encoders.encode import Encoded, content_hashes
from gnnrec.encoders.ray_engine import Actors, PartEncoder, fill_cache
from gnnrec.encoders.shards import read_shard, read_shards, shard_path, write_shard
from gnnrec.errors import UserError


def test_features_and_reasons_come_back(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    parts = [
        Encoded(keys=["a", "b"], values=values[:2], unusable={"x": "not a picture"}),
        Encoded(keys=["c"], values=values[2:], unusable={}),
    ]
    path = shard_path(tmp_path, ["a", "b", "x", "c"])
    write_shard(path, parts, 2)
    found = read_shard(path, 2)
    assert list(found.keys) == ["a", "b", "c"] and found.unusable == {"x": "not a picture"}
    np.testing.assert_array_equal(found.values, values)
    with pytest.raises(UserError, match="2 dimensions, 3 expected"):
        read_shard(path, 3)
    (tmp_path / ".tmp-x.parquet").write_bytes(b"")  # of a writer that was killed
    assert len(list(read_shards(tmp_path, 2))) == 1
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="not a shard of features"):
        list(read_shards(tmp_path, 2))


def test_a_part_that_is_finished_is_not_encoded_again(tiny_data: Path, tmp_path: Path) -> None:
    """What a retry after a lost worker, and the next call after a lost driver, rest on: opencv needs no model."""
    dataset = Dataset.load(tiny_data)
    assert dataset.items is not None
    config = EncodersConfig(text="none", image="opencv", audio="none")
    contents = [path for path in dataset.items.content("image") if path is not None]
    keys = [key for key in content_hashes(contents, "image") if key]
    part = {"keys": keys, "contents": [str(path) for path in contents]}
    first, second = (PartEncoder("image", config, str(tmp_path))(part) for _ in range(2))
    assert (first["encoded"], second["encoded"]) == (len(keys), 0) and first["shard"] == second["shard"]


def test_shards_that_a_lost_call_left_fill_the_cache(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the parts are there; the engine is asked for the other half alone, and all features are the loop's."""
    items = Dataset.load(tiny_data).items
    config = EncodersConfig(text="none", image="opencv", audio="none")
    asked: list[int] = []

    def here(rows: list[dict[str, Any]], modality: str, config: EncodersConfig, folder: Path, workers: Actors) -> Any:
        """As the engine does, in this process, until half of the first call is done."""
        encoder = PartEncoder(modality, config, str(folder))
        asked.append(len(rows))
        for row in rows:
            if len(asked) == 1 and len(list(folder.glob("*.parquet"))) >= len(rows) // 2:
                raise KeyboardInterrupt
            yield encoder(row)

    monkeypatch.setattr(ray_engine, "PART", 4)
    monkeypatch.setattr(ray_engine, "_run", here)
    workers = Actors(number=1, shards=tmp_path / "shards")
    with pytest.raises(KeyboardInterrupt):
        fill_cache(items, config, workers, cache_dir=tmp_path / "cache")
    encoded = fill_cache(items, config, workers, cache_dir=tmp_path / "cache")
    assert asked == [8, 4] and encoded == {"image": 15}  # 31 posters in parts of 4, of which 4 were done before
    assert fill_cache(items, config, workers, cache_dir=tmp_path / "cache") == {"image": 0}
    plain = encode_catalog(items, config, cache_dir=tmp_path / "loop")["image"]
    filled = encode_catalog(items, config, cache_dir=tmp_path / "cache")["image"]
    np.testing.assert_array_equal(plain.mask, filled.mask)
    np.testing.assert_allclose(plain.values, filled.values, rtol=1e-6)
