from pathlib import Path

import numpy as np
import pytest

from gnnrec.encoders.cache import FeatureCache
from gnnrec.errors import UserError


def test_rows_survive(tmp_path: Path) -> None:
    row = np.array([1.5, -2.25, 3e-30], dtype=np.float32)
    with FeatureCache(tmp_path, "some/encoder@1", 3) as cache:
        cache.store({"a": row})
    with FeatureCache(tmp_path, "some/encoder@1", 3) as cache:
        known = dict(cache.fetch(["a", "b"]))
    assert set(known) == {"a"}
    assert np.array_equal(known["a"], row)


def test_rows_of_another_size_are_not_known(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "e", 3) as cache:
        cache.store({"a": np.ones(3, dtype=np.float32)})
    with FeatureCache(tmp_path, "e", 2) as cache:
        assert dict(cache.fetch(["a"])) == {}


def test_another_encoder_or_revision_has_a_cache_of_its_own(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "x/y", 1) as first, FeatureCache(tmp_path, "x_y", 1) as second:
        first.store({"a": np.ones(1, dtype=np.float32)})
        assert first.path != second.path
        assert dict(second.fetch(["a"])) == {}


def test_many_keys(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "e", 1) as cache:
        cache.store({str(number): np.full(1, number, dtype=np.float32) for number in range(2_345)})
        known = dict(cache.fetch(str(number) for number in range(0, 2_345, 2)))
    assert sorted(float(row[0]) for row in known.values()) == list(range(0, 2_345, 2))


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    class Broken(np.ndarray):
        def astype(self, *_: object, **__: object) -> np.ndarray:
            raise KeyboardInterrupt

    with FeatureCache(tmp_path, "e", 1) as cache:
        with pytest.raises(KeyboardInterrupt):
            cache.store({"a": np.ones(1, dtype=np.float32), "b": np.ones(1, dtype=np.float32).view(Broken)})
        assert dict(cache.fetch(["a", "b"])) == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    with FeatureCache(tmp_path, "e", 1) as cache:
        path = cache.path
    path.write_bytes(b"this is no database" * 1_000)
    with pytest.raises(UserError, match=path.name):
        FeatureCache(tmp_path, "e", 1)
