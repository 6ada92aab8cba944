"""Encoding by many processes: Ray Data hands out parts of the content, actors hold the encoder, results are shards.

Each part becomes one Parquet file (shards.py) and then rows of the feature cache, from which everything else reads as
it always does. A worker that is lost loses the part that it had in hand: Ray starts another, which finds what is
finished by its name. A driver that is lost loses nothing that is a shard: the next call takes these first.

On a cluster the dataset, the shards and the models have to be on a file system that all machines see at the same paths.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.datasets.catalog import Catalog
from gnnrec.encoders.cache import FeatureCache
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import (
    MODALITIES,
    Encoded,
    EncodersConfig,
    content_hashes,
    default_device,
    encode_batches,
    feature_name,
)
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.pretrained import cache_root
from gnnrec.encoders.shards import read_shard, read_shards, shard_path, write_shard
from gnnrec.progress import progress
from gnnrec.ray_cluster import open_ray

PART = 256  # contents of a shard: what a lost worker costs


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    """How many processes encode, and where."""

    number: int
    address: str | None = None  # of a cluster; None for this machine alone
    shards: Path | None = None  # folder that keeps the shards; None for one in the cache


class PartEncoder:
    """What an actor holds: the encoder, opened once. Called with a part, it leaves a shard."""

    def __init__(self, modality: str, config: EncodersConfig, folder: str) -> None:
        name = config.encoder_of(modality)
        assert name is not None
        self.modality, self.config, self.folder = modality, config, Path(folder)
        self.encoder = open_encoder(modality, name, default_device(), config.pooling)

    def __call__(self, part: Mapping[str, Any]) -> dict[str, Any]:
        """part: "keys" and "contents", texts or paths. Gives the shard and how many were encoded for it now."""
        keys, contents = list(part["keys"]), list(part["contents"])
        path = shard_path(self.folder, keys)
        if path.exists():
            return {"shard": path.name, "encoded": 0}
        todo = list(zip(keys, contents if self.modality == "text" else map(Path, contents)))
        write_shard(path, list(encode_batches(todo, self.modality, self.encoder, self.config)), self.encoder.dim)
        return {"shard": path.name, "encoded": len(keys)}


def fill_cache(
    catalog: Catalog | None,
    config: EncodersConfig,
    workers: Actors,
    *,
    given: Collection[str] = (),
    cache_dir: Path | None = None,
) -> dict[str, int]:
    """Encode what the feature cache lacks of a catalogue's content. Gives modality -> contents encoded by this call.

    given: modalities whose features are made elsewhere.

    Raises UserError as `encode_catalog`, and where Ray or the cluster is not there.
    """
    encoded: dict[str, int] = {}
    for modality in MODALITIES:
        name = config.encoder_of(modality)
        if catalog is None or name is None or modality in given or modality not in catalog.modalities():
            continue
        contents = catalog.content(modality)
        if all(content is None for content in contents):
            continue
        encoder = open_encoder(modality, name, default_device(), config.pooling)
        with shards_of(modality, encoder, config, workers, cache_dir) as (cache, folder):
            first = {key: content for key, content in zip(content_hashes(contents, modality), contents) if key}
            known = {key for key, _ in cache.fetch(first)}
            todo = sorted(key for key in first if key not in known and not key.startswith("!"))
            parts = [todo[start : start + PART] for start in range(0, len(todo), PART)]
            encoded[modality] = 0
            rows = [{"keys": part, "contents": [str(first[key]) for key in part]} for part in parts]
            with progress(total=len(todo), text=f"{modality} by {encoder.name}", unit="row") as bar:
                for done in _run(rows, modality, config, folder, workers) if rows else ():
                    shard = read_shard(folder / done["shard"], encoder.dim)
                    store(cache, shard)
                    encoded[modality] += int(done["encoded"])
                    bar.update(len(shard.keys) + len(shard.unusable))
    return encoded


@contextmanager
def shards_of(
    modality: str, encoder: Encoder, config: EncodersConfig, workers: Actors, cache_dir: Path | None
) -> Iterator[tuple[FeatureCache, Path]]:
    """The cache, with all that calls that were cut off left in shards, and the folder of these. Unless the user named
    the folder, it is emptied in the end, since all is in the cache then."""
    kept = feature_name(modality, encoder, config)
    with FeatureCache(cache_dir or cache_root() / "features", kept, encoder.dim) as cache:
        folder = (workers.shards or cache.path.with_suffix(".shards")) / cache.path.stem
        folder.mkdir(parents=True, exist_ok=True)
        for shard in read_shards(folder, encoder.dim):
            store(cache, shard)
        yield cache, folder
        if workers.shards is None:
            for path in folder.glob("*.parquet"):
                path.unlink()


def store(cache: FeatureCache, shard: Encoded) -> None:
    finite = np.all(np.isfinite(shard.values), axis=1).tolist()
    cache.store({key: row for key, row, fine in zip(shard.keys, shard.values, finite) if fine})


def _run(rows: list[dict[str, Any]], modality: str, config: EncodersConfig, folder: Path, workers: Actors) -> Any:
    with open_ray(workers.address, workers.number) as ray:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        parts = ray.data.from_items(rows, override_num_blocks=len(rows))
        made = parts.map(
            PartEncoder,
            fn_constructor_args=(modality, config, str(folder.resolve())),
            compute=ray.data.ActorPoolStrategy(size=min(workers.number, len(rows))),
            num_cpus=1,
        )
        yield from made.iter_rows()
