"""`gnnrec encode --engine ray` on the shipped movies while one of its workers is killed by -9."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from started import PATIENCE, command, descendants, finished, on_loopback, wait_for, watched

from gnnrec.datasets import Catalog, Dataset
from gnnrec.encoders import EncodersConfig, encode_catalog
from gnnrec.encoders.encode import content_hashes
from gnnrec.encoders.shards import read_shards

MOVIES = Path(__file__).parents[2] / "data" / "movies"
POSTERS = {"text": "none", "image": "opencv", "audio": "none"}  # an encoder that needs no pretrained model


@pytest.mark.slow
def test_a_worker_killed_while_encoding_costs_nothing_that_is_finished(tmp_path: Path) -> None:
    shards, where = tmp_path / "shards", {"GNNREC_CACHE": str(tmp_path / "ray")}
    typed = ["encode", MOVIES, "--engine", "ray", "--workers", "2", "--shards", shards, "--json"]
    typed += ["--set", *(f"encoders.{name}={encoder}" for name, encoder in POSTERS.items())]

    def made() -> dict[Path, int]:
        """Finished shards, and when each was written."""
        return {path: path.stat().st_mtime_ns for path in shards.rglob("[0-9a-f]*.parquet")}

    process = command(*typed, **where)
    wait_for(process, lambda: len(made()) >= 2, PATIENCE)
    known, workers = made(), descendants(process, "ray::Map")
    workers[0].send_signal(signal.SIGKILL)
    seen = watched(process)
    document = json.loads(finished(process))

    items = Dataset.load(MOVIES).items
    assert isinstance(items, Catalog)
    plain = encode_catalog(items, EncodersConfig(**POSTERS), cache_dir=tmp_path / "loop")["image"]
    [row] = document["features"]
    assert row["encoded"] == plain.mask.sum() == 3627 and row["rows"] == len(plain.mask)
    assert len(known) < len(made()) // 2
    assert {path: made()[path] for path in known} == known  # none was written again
    assert {end for end in seen.listened if not on_loopback(end[0])} == set() and seen.listened

    [folder] = {path.parent for path in made()}
    features = {
        key: values
        for shard in read_shards(folder, plain.values.shape[1])
        for key, values in zip(shard.keys, shard.values)
    }
    keys = content_hashes(items.content("image"), "image")
    found = np.stack([features[key] for key, there in zip(keys, plain.mask) if there])
    np.testing.assert_allclose(found, plain.values[plain.mask], rtol=1e-5, atol=1e-6)
    assert json.loads(finished(command(*typed, **where)))["encoded_by_workers"] == {"items": {"image": 0}}


@pytest.mark.slow
def test_workers_read_the_items_of_a_parquet_file_themselves(tmp_path: Path) -> None:
    """One of them is killed; the cache is the loop's in the end. The log is not read: it is not there."""
    folder, where = tmp_path / "data", {"GNNREC_CACHE": str(tmp_path / "ray")}
    described = (MOVIES / "dataset.toml").read_text()
    catalog = Dataset.load(MOVIES).items
    assert isinstance(catalog, Catalog)
    shutil.copytree(MOVIES / "posters", folder / "posters")
    catalog.table.write_parquet(folder / "items.parquet")
    (folder / "dataset.toml").write_text(described.replace("items.csv.gz", "items.parquet"))
    shards = tmp_path / "shards"
    typed = ["encode", folder, "--engine", "ray", "--stream", "--workers", "2", "--shards", shards, "--json"]
    typed += ["--set", *(f"encoders.{name}={encoder}" for name, encoder in POSTERS.items())]

    process = command(*typed, **where)
    wait_for(process, lambda: len(list(shards.rglob("[0-9a-f]*.parquet"))) >= 2, PATIENCE)
    descendants(process, "ray::MapWorker")[0].send_signal(signal.SIGKILL)
    document = json.loads(finished(process))

    plain = encode_catalog(catalog, EncodersConfig(**POSTERS), cache_dir=tmp_path / "loop")["image"]
    [row] = document["features"]
    assert row["rows"] == len(plain.mask) and row["encoded"] == plain.mask.sum()
    cached = encode_catalog(catalog, EncodersConfig(**POSTERS), cache_dir=tmp_path / "ray" / "features")["image"]
    np.testing.assert_allclose(cached.values, plain.values, rtol=1e-5, atol=1e-6)
    assert json.loads(finished(command(*typed, **where)))["encoded_by_workers"] == {"items": {"image": 0}}
