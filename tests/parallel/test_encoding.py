"""`gnnrec encode --engine ray` on the shipped movies while one of its workers is killed by -9."""

import json
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
