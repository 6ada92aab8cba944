"""Content of a whole catalogue, or of one query -> Features, through the cache, in batches.

Letters: I rows of the catalogue, d dimensions.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.datasets.catalog import Catalog
from gnnrec.datasets.dataset import Dataset
from gnnrec.encoders.cache import FeatureCache, Row
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import Encoder, Features, SizedEncoder, StagedEncoder
from gnnrec.encoders.huggingface import AUTO
from gnnrec.encoders.media import JPEG_SIDE, Unreadable, reader_of
from gnnrec.encoders.pretrained import cache_root
from gnnrec.encoders.read_ahead import read_ahead
from gnnrec.encoders.sentence_transformer import POOLINGS
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file
from gnnrec.progress import progress
from gnnrec.scratch import blocks, empty

MODALITIES = ("text", "image", "audio")
SECONDS_AT_ONCE = 960  # of sound in a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodersConfig:
    """Encoders by name (`gnnrec models`), folder or hub id; "none" leaves a modality out."""

    text: str = "use"
    image: str = "efficientnet_lite0"
    audio: str = "musicnn"
    columns: str = ""  # whose text is encoded, of items: "title,genres"; empty takes those of dataset.toml
    speech: str = "whisper"  # what makes text of speech where that is asked for: a name or a folder; none: nothing does
    pooling: str = AUTO  # of texts by a model of Hugging Face: auto is as its folder says, else the mean of its tokens
    batch_size: int = 32
    audio_seconds: float = 30.0  # of each sound that are listened to

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"encoders.batch_size is {self.batch_size}: at least 1 is allowed")
        if not 0.1 <= self.audio_seconds <= 3600:
            raise UserError(f"encoders.audio_seconds is {self.audio_seconds}: 0.1 to 3600 are allowed")

        if self.pooling not in (AUTO, *POOLINGS):
            raise UserError(f"encoders.pooling: found {self.pooling!r}; allowed: {AUTO}, {', '.join(POOLINGS)}")

    def encoder_of(self, modality: str) -> str | None:
        name = {"text": self.text, "image": self.image, "audio": self.audio}[modality]
        return None if name == "none" else name

    def items_of(self, dataset: Dataset) -> Catalog | None:
        """The items with the text columns that are encoded. Raises UserError for a column that is not there."""
        if not self.columns or dataset.items is None:
            return dataset.items
        return dataset.items.with_text([name.strip() for name in self.columns.split(",")])


def encode_dataset(
    dataset: Dataset,
    config: EncodersConfig,
    *,
    cache_dir: Path | None = None,
    device: torch.device | str | None = None,
) -> tuple[dict[str, Features], dict[str, Features]]:
    """Features of items and of users by modality. Features made elsewhere stand before an encoder's.

    Raises UserError as `encode_catalog`.
    """
    given = dataset.item_features
    items = encode_catalog(config.items_of(dataset), config, cache_dir=cache_dir, device=device, given=given)
    users = encode_catalog(dataset.users, config, cache_dir=cache_dir, device=device, given=dataset.user_features)
    return items, users


def encode_catalog(
    catalog: Catalog | None,
    config: EncodersConfig,
    *,
    cache_dir: Path | None = None,
    device: torch.device | str | None = None,
    given: Mapping[str, NDArray[np.float32]] | None = None,
) -> dict[str, Features]:
    """Features of the text, image and audio columns; a modality of which no row has any content is left out.

    given: features made elsewhere, modality -> [I, d] with NaN where a row is missing; no encoder runs for these, but
    "none" leaves them out too.
    cache_dir: the folder of cached features, by default `features` in the cache of the user.
    device: by default CUDA where there is any.
    Raises UserError for a model that is not here and for a cache that cannot be written.
    """
    off = {modality for modality in MODALITIES if config.encoder_of(modality) is None}
    features = {modality: from_array(values) for modality, values in (given or {}).items() if modality not in off}
    for modality in catalog.modalities() if catalog else ():
        name = config.encoder_of(modality)
        if modality in features or name is None:
            continue
        assert catalog is not None
        contents = catalog.content(modality)
        if any(content is not None for content in contents):
            encoder = open_encoder(modality, name, device or default_device(), config.pooling)
            features[modality] = encode_contents(contents, modality, encoder, config, cache_dir)
    return features


def encode_query(
    config: EncodersConfig,
    *,
    text: str | None = None,
    image: Path | None = None,
    audio: Path | None = None,
    device: torch.device | str | None = None,
    opened: MutableMapping[str, Encoder] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Features of one ad-hoc query of any of the three, modality -> [1, d]; nothing is cached.

    opened: encoders by modality that a server keeps between queries; filled here.
    Raises UserError for content that cannot be read and for a modality without encoder.
    """
    opened = {} if opened is None else opened
    query: dict[str, NDArray[np.float32]] = {}
    for modality, content in (("text", text or None), ("image", image), ("audio", audio)):
        if content is None:
            continue
        name = config.encoder_of(modality)
        if name is None:
            raise UserError(f"the query has {modality}, but encoders.{modality} is 'none'")
        if modality not in opened:
            opened[modality] = open_encoder(modality, name, device or default_device(), config.pooling)
        try:
            read = reader_of(modality, opened[modality], config.audio_seconds)(content)
        except (Unreadable, OSError) as error:
            raise UserError(f"{content}: {error}") from error
        query[modality] = opened[modality].encode([read])
    return query


def from_array(values: NDArray[np.float32]) -> Features:
    """Features made elsewhere: a row with NaN or infinity is missing. [I, d]"""
    mask = np.zeros(len(values), dtype=np.bool_)
    for rows in blocks(values):
        mask[rows] = np.isfinite(values[rows]).all(axis=1)
    if not mask.all() or values.dtype != np.float32:
        whole, values = values, empty(values.shape)
        for rows in blocks(whole):
            values[rows] = np.where(mask[rows, None], whole[rows], 0)
    return Features(values=values, mask=mask, encoder="given")


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def encode_contents(
    contents: Sequence[Any],
    modality: str,
    encoder: Encoder,
    config: EncodersConfig,
    cache_dir: Path | None = None,
) -> Features:
    """One row for each text or path in `contents` (None: missing). The same content is encoded once.

    What was encoded is in the cache batch by batch, so that a run that was killed goes on where it was. Memory grows by
    the features of a row and its hash alone: batches are read ahead, but only a few of them (`read_ahead`).
    """
    name = feature_name(modality, encoder, config)
    found = _Found(content_hashes(contents, modality), encoder.dim)
    with FeatureCache(cache_dir or cache_root() / "features", name, encoder.dim) as cache:
        for key, value in cache.fetch(found.missing()):
            found.put([key], value[None])
        todo = [(key, contents[found.first[key]]) for key in found.missing()]
        if modality == "text":
            todo.sort(key=lambda pair: len(pair[1]))  # texts of like length in a batch: little padding
        with progress(total=len(todo), text=f"{modality} by {encoder.name}", unit="row") as bar:
            for batch in encode_batches(todo, modality, encoder, config):
                found.reasons |= batch.unusable
                cache.store(found.put(batch.keys, batch.values))
                bar.update(len(batch.keys) + len(batch.unusable))
    return found.features(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What became of some contents, by key."""

    keys: Sequence[str]  # of what could be read
    values: NDArray[np.float32]  # [n, d]
    unusable: Mapping[str, str]  # key -> reason


def encode_batches(
    todo: Sequence[tuple[str, Any]], modality: str, encoder: Encoder, config: EncodersConfig
) -> Iterator[Encoded]:
    """The map from (key, content) to features that every engine runs, batch by batch, in the order of `todo`."""
    prepare: Callable[[Iterable[Any]], Any] = encoder.prepare if isinstance(encoder, StagedEncoder) else list
    forward = encoder.forward if isinstance(encoder, StagedEncoder) else encoder.encode
    for batch in read_ahead(
        todo, reader_of(modality, encoder, config.audio_seconds), prepare, _batch_size(modality, config)
    ):
        values = forward(batch.ready) if batch.keys else np.zeros((0, encoder.dim), dtype=np.float32)
        yield Encoded(keys=batch.keys, values=values, unusable=batch.unusable)


def feature_name(modality: str, encoder: Encoder, config: EncodersConfig) -> str:
    """What features are kept under: whatever decides the numbers."""
    if modality == "audio":
        return f"{encoder.name}:{config.audio_seconds:g}s"
    if isinstance(encoder, SizedEncoder) and encoder.picture_side != JPEG_SIDE:
        return f"{encoder.name}:{encoder.picture_side}px"
    return encoder.name


class _Found:
    """Features as they are found, by content hash; each is written to the first row of its content."""

    def __init__(self, keys: Sequence[str | None], dim: int) -> None:
        self.keys = keys  # [I]
        self.first: dict[str, int] = {}
        for row, key in enumerate(keys):
            if key is not None:
                self.first.setdefault(key, row)
        self.reasons = {key: key[1:] for key in self.first if key.startswith("!")}
        self.values = np.zeros((len(keys), dim), dtype=np.float32)
        self.mask = np.zeros(len(keys), dtype=np.bool_)

    def missing(self) -> list[str]:
        return [key for key, row in self.first.items() if not self.mask[row] and key not in self.reasons]

    def put(self, keys: Sequence[str], values: NDArray[np.float32]) -> dict[str, Row]:
        """The rows that can be used, by key. values: [n, d]"""
        finite = np.all(np.isfinite(values), axis=1)
        rows = [self.first[key] for key in keys]
        self.values[rows], self.mask[rows] = np.where(finite[:, None], values, 0), finite
        self.reasons |= {key: "the encoder gave no finite numbers" for key, fine in zip(keys, finite) if not fine}
        return {key: value for key, value, fine in zip(keys, values, finite, strict=True) if fine}

    def features(self, name: str) -> Features:
        for row, key in enumerate(self.keys):
            if key is not None and self.first[key] != row:
                self.values[row], self.mask[row] = self.values[self.first[key]], self.mask[self.first[key]]
        rejected = {row: self.reasons[key] for row, key in enumerate(self.keys) if key and key in self.reasons}
        return Features(values=self.values, mask=self.mask, encoder=name, rejected=rejected)


def content_hashes(contents: Sequence[Any], modality: str) -> list[str | None]:
    shown = progress(contents, text=f"{modality}: what is known of it", unit="row")
    return [None if content is None else content_hash(content) for content in shown]


def _batch_size(modality: str, config: EncodersConfig) -> int:
    """Rows at a time; of long sounds fewer, since whole batches of them are in memory."""
    longest = int(SECONDS_AT_ONCE / config.audio_seconds) if modality == "audio" else config.batch_size
    return max(1, min(config.batch_size, longest))


def content_hash(content: str | Path) -> str:
    """sha256 of the text or of the bytes of the file; for a file that cannot be opened, "!" and the reason."""
    if isinstance(content, str):
        return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()
    try:
        return sha256_of_file(content)
    except OSError as error:
        return f"!{error.strerror or error}"
