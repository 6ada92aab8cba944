"""Encoding of what lies in Parquet: Ray Data reads the files, actors make contents of the rows and encode them.

The process that asks holds no row of a table, and opens no picture and no sound: it is told of shards, and takes them
into the feature cache as `ray_engine` does. Workers look into that cache for what is known. The log is not read.

Contents are the same wherever `gnnrec.datasets` reads them, so that training finds all of them in the cache. A content
that stands in rows far apart is encoded once for each part that has it, at most.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from gnnrec.datasets.sources.streamed import StreamedTable, streamed_tables
from gnnrec.encoders.cache import FeatureCache
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import Encoded, EncodersConfig, content_hash, default_device, feature_name
from gnnrec.encoders.ray_engine import PART, Actors, PartEncoder, shards_of, store
from gnnrec.encoders.rejected import shown
from gnnrec.encoders.shards import read_shard
from gnnrec.errors import UserError, first_line
from gnnrec.progress import progress
from gnnrec.ray_cluster import open_ray

BLOCKS = 64  # of an actor: Ray hands out whole blocks of rows, else a small file would be one actor's
NOT_FINITE = "the encoder gave no finite numbers"


@dataclass(slots=True, kw_only=True)
class Told:
    """What became of some rows."""

    shard: str = ""  # its file; empty where the cache had all
    encoded: int = 0  # contents that were read and encoded now
    rows: int = 0  # with what is in the files, also where it is no content
    usable: int = 0
    unusable: list[tuple[str, str]] = field(default_factory=list)  # reason, what it is of


class Filled(NamedTuple):
    """What became of a dataset."""

    # One for each owner and modality: {"owner", "modality", "encoder", "dimensions", "rows", "encoded", "unusable"}
    rows: list[dict[str, Any]]
    rejected: list[dict[str, Any]]  # contents that cannot be used, in the shape of Dataset.rejected, without lines
    now: dict[str, dict[str, int]]  # owner -> modality -> contents encoded by this call


class RowEncoder:
    """What an actor holds. Called with rows of the table, it leaves a shard of those contents that are not known."""

    def __init__(self, table: StreamedTable, modality: str, config: EncodersConfig, folder: str, cache: str) -> None:
        """folder: of the shards. cache: of features."""
        self.table, self.modality, self.cache = table, modality, Path(cache)
        self.parts = PartEncoder(modality, config, folder)
        self.kept = feature_name(modality, self.parts.encoder, config)

    def __call__(self, rows: Any) -> dict[str, list[str]]:
        """rows: an Arrow table. Gives one row, the fields of Told as JSON."""
        return {"told": [json.dumps(asdict(self.encode(pl.DataFrame(rows))))]}

    def encode(self, rows: pl.DataFrame) -> Told:
        contents, wrong = self.table.contents(rows, self.modality)
        keys = [None if content is None else content_hash(content) for content in contents]
        first = {key: content for key, content in zip(keys, contents) if key}
        reasons = {key: key[1:] for key in first if key.startswith("!")}
        dim = self.parts.encoder.dim
        with FeatureCache(self.cache, self.kept, dim) as cache:
            todo = sorted(first.keys() - reasons.keys() - {key for key, _ in cache.fetch(first)})
        told = Told(rows=len(rows), unusable=[(row["reason"], row["value"]) for row in wrong.iter_rows(named=True)])
        if todo:
            made = self.parts({"keys": todo, "contents": [str(first[key]) for key in todo]})
            told.shard = str(made["shard"])
            shard = read_shard(self.parts.folder / told.shard, dim)
            told.encoded = len(shard.keys) if made["encoded"] else 0
            reasons |= _reasons(shard)
        for key, content in zip(keys, contents):
            if key in reasons:
                told.unusable.append((reasons[key], shown(content, self.table.root)))
            told.usable += key is not None and key not in reasons
        return told


def _reasons(shard: Encoded) -> dict[str, str]:
    finite = np.all(np.isfinite(shard.values), axis=1).tolist()
    return dict(shard.unusable) | {key: NOT_FINITE for key, fine in zip(shard.keys, finite) if not fine}


def fill_from_tables(folder: Path, config: EncodersConfig, workers: Actors, *, cache_dir: Path | None = None) -> Filled:
    """Encode what the feature cache lacks of a dataset's items and users, which have to lie in Parquet files.

    Raises UserError as `streamed_tables`, and where Ray or the cluster is not there.
    """
    columns = [name.strip() for name in config.columns.split(",")] if config.columns else []
    filled = Filled([], [], {})
    for table in streamed_tables(folder, columns):
        for modality in table.modalities():
            if (name := config.encoder_of(modality)) is None:
                continue
            encoder, count = open_encoder(modality, name, default_device(), config.pooling), Counter[str]()
            with (
                shards_of(modality, encoder, config, workers, cache_dir) as (cache, shards),
                progress(total=table.num_rows, text=f"{modality} by {encoder.name}", unit="row") as bar,
            ):
                for told in _run(table, modality, config, shards, cache.path.parent, workers):
                    if told.shard:
                        store(cache, read_shard(shards / told.shard, encoder.dim))
                    count.update(usable=told.usable, unusable=len(told.unusable), encoded=told.encoded)
                    filled.rejected.extend(
                        {"file": table.file, "line": None, "reason": reason, "value": value}
                        for reason, value in told.unusable
                    )
                    bar.update(told.rows)
            filled.now.setdefault(table.owner, {})[modality] = count["encoded"]
            filled.rows.append(
                {
                    "owner": table.owner,
                    "modality": modality,
                    "encoder": feature_name(modality, encoder, config),
                    "dimensions": encoder.dim,
                    "rows": table.num_rows,
                    "encoded": count["usable"],
                    "unusable": count["unusable"],
                }
            )
    return filled


def _run(
    table: StreamedTable, modality: str, config: EncodersConfig, shards: Path, cache: Path, workers: Actors
) -> Iterator[Told]:
    with open_ray(workers.address, workers.number + 1) as ray:  # reading needs a place beside those of the actors,
        sizes = {"size": workers.number}
        if workers.address is not None:  # and on a cluster that has no more than asked for one of theirs
            sizes = {"min_size": 1, "max_size": workers.number}
        ray.data.DataContext.get_current().enable_progress_bars = False
        read = ray.data.read_parquet(
            str(table.path),
            columns=table.columns(modality),
            partitioning=None,
            override_num_blocks=min(-(-table.num_rows // PART), BLOCKS * workers.number),
        )
        made = read.map_batches(
            RowEncoder,
            fn_constructor_args=(table, modality, config, str(shards.resolve()), str(cache.resolve())),
            batch_size=PART,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(**sizes),
            num_cpus=1,
        )
        try:
            for row in made.iter_rows():
                yield Told(**json.loads(row["told"]))
        except ray.exceptions.RayError as error:
            raise UserError(f"encode --engine ray: {first_line(getattr(error, 'cause', None) or error)}") from error
