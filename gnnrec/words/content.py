"""Generated texts as modalities of their own: `description` and `transcript` of items, `profile` of items and users."""

import gzip
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets import Dataset, Interactions
from gnnrec.encoders import EncodersConfig, Features, default_device
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import encode_catalog, encode_contents
from gnnrec.encoders.pretrained import cache_root
from gnnrec.errors import UserError, count
from gnnrec.files import atomic_path
from gnnrec.graph import GraphConfig
from gnnrec.words.describe import Descriptions, describe
from gnnrec.words.profiles import Profiles, item_facts, profile_writer, user_facts, write_profiles
from gnnrec.words.settings import DescribeConfig, ProfilesConfig
from gnnrec.words.transcribe import transcribe

DESCRIPTION, TRANSCRIPT, PROFILE = "description", "transcript", "profile"  # names of the modalities
CACHE = "words"  # folder in the cache


@dataclass(frozen=True, slots=True)
class Written:
    """Features by modality, and for the record who made how many texts of each."""

    items: Mapping[str, Features] = field(default_factory=dict)
    users: Mapping[str, Features] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


def write_content(
    dataset: Dataset,
    train: Interactions,
    features: Mapping[str, Features],
    encoders: EncodersConfig,
    graph: GraphConfig,
    described: DescribeConfig,
    profiled: ProfilesConfig,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """What `graph.descriptions`, `transcripts` and `profiles` ask for, encoded by the text encoder.

    train: the interactions that profiles may rest on. features: of the items, by which neighbours are found.
    Raises UserError where there is no text encoder, no content to write about, or no such model.
    """
    items, users, record = dict[str, Features](), dict[str, Features](), dict[str, Any]()
    root = cache or cache_root()

    def encoded(texts: Sequence[str | None]) -> Features:
        assert encoders.encoder_of("text") is not None
        encoder = open_encoder("text", encoders.text, default_device(), encoders.pooling)
        return encode_contents(texts, "text", encoder, encoders, root / "features")

    if graph.descriptions:
        _check("descriptions", DESCRIPTION, features, encoders)
        found = describe(dataset.items, features, encoders, described, root / CACHE)
        if not found.rows:
            raise UserError("graph.descriptions: no item has a picture or a sound that could be described")
        items[DESCRIPTION] = encoded(found.texts(len(dataset.item_ids)))
        record[DESCRIPTION] = {"made_by": found.made_by(), "failures": len(found.failures)}
        say(_told("descriptions of items", found.made_by(), found.failures))
    if graph.transcripts:
        _check("transcripts", TRANSCRIPT, features, encoders)
        heard = transcribe(dataset.items, encoders, root / CACHE)
        if not heard.rows:
            raise UserError("graph.transcripts: no item has a sound in which speech is heard")
        items[TRANSCRIPT] = encoded(heard.texts(len(dataset.item_ids)))
        record[TRANSCRIPT] = {"made_by": heard.made_by()}
        say(_told("transcripts of items", heard.made_by(), heard.failures))
    if graph.profiles:
        _check("profiles", PROFILE, features, encoders)
        for kind, made in profiles_of(dataset, train, profiled, root / CACHE).items():
            (items if kind == "item" else users)[PROFILE] = encoded(made.texts)
            record[f"{kind}_{PROFILE}"] = {
                "made_by": made.counts(),
                "refused": made.refused,
                "failures": len(made.failures),
            }
            say(_told(f"profiles of {kind}s", made.counts(), made.failures, made.refused))
    return Written(items, users, record)


def describe_dataset(
    dataset: Dataset, encoders: EncodersConfig, config: DescribeConfig, cache: Path | None = None
) -> Descriptions:
    """As in `write_content`, for reading: every picture and every sound of the items in words."""
    root = cache or cache_root()
    own = replace(encoders, text="none")  # neighbours are those of the pictures, and of the sounds
    features = encode_catalog(dataset.items, own, cache_dir=root / "features", given=dataset.item_features)
    return describe(dataset.items, features, encoders, config, root / CACHE)


def profile_dataset(
    dataset: Dataset, train: Interactions, config: ProfilesConfig, cache: Path | None = None
) -> dict[str, Profiles]:
    """As in `write_content`, for reading: the profiles of users and of items."""
    return profiles_of(dataset, train, config, (cache or cache_root()) / CACHE)


def save_texts(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Rows as .csv.gz, whole or not at all; the same rows make the same bytes."""
    buffer = io.BytesIO()
    pl.DataFrame(rows).write_csv(buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def profiles_of(dataset: Dataset, train: Interactions, config: ProfilesConfig, cache: Path) -> dict[str, Profiles]:
    """By kind: user, item; the budget is common. Raises UserError where the items have no text."""
    if dataset.items is None or not dataset.items.text_columns:
        raise UserError("graph.profiles: the items have no text that a profile could be made from")
    server = profile_writer(config)
    titles = [title for title in dataset.items.titles() if title]
    facts = {"user": user_facts(dataset.items, train, config), "item": item_facts(dataset.items, train)}
    return {kind: write_profiles(kind, own, titles, config, server, cache) for kind, own in facts.items()}


def _check(key: str, modality: str, features: Mapping[str, Features], encoders: EncodersConfig) -> None:
    if encoders.encoder_of("text") is None:
        raise UserError(f"graph.{key}: needs a text encoder, but encoders.text is 'none'")
    if modality in features:
        raise UserError(f"graph.{key}: the dataset has features of the name {modality!r} already")


def _told(what: str, made_by: Mapping[str, int], failures: Sequence[str], refused: int = 0) -> str:
    parts = [f"{number:,} by {maker}" for maker, number in made_by.items()]
    if refused:
        parts.append(f"{count(refused, 'answer')} refused for saying more than was shown")
    if failures:
        parts.append(f"{count(len(failures), 'question')} without an answer ({failures[0]})")
    return f"{what}: {', '.join(parts) or 'none'}"
