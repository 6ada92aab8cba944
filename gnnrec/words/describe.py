"""Pictures and sounds in words: by a model that is shown them, and always by what can be measured without one.

Measured of the file: `look` and `hear`. Told by the tagger whose weights are here: musicnn's tags. Found among the
nearest items of the same modality: the words that their texts have unusually often. An item's own text and
everybody's interactions stay out of it. The labels of an ImageNet classifier are not used: of 24 film posters on
which it was at least 70 % sure, 8 showed what it said.

Letters: I items, k neighbours.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from gnnrec.datasets import Catalog
from gnnrec.encoders import EncodersConfig, Features, default_device
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import encode_contents
from gnnrec.encoders.features import mean_and_scale
from gnnrec.encoders.media import Unreadable, read_audio, read_image
from gnnrec.encoders.musicnn import MusicnnEncoder
from gnnrec.encoders.pretrained import locate
from gnnrec.files import sha256_of_file
from gnnrec.graph import GraphConfig, nearest_edges
from gnnrec.language.answers import AnswerCache, key_of
from gnnrec.language.endpoint import NoAnswer
from gnnrec.language.server import TEXT_SCHEMA
from gnnrec.language.vision import MAX_TOKENS, PROMPT, SIDE, SYSTEM, Captioner, open_captioner
from gnnrec.progress import progress
from gnnrec.words import look, sound
from gnnrec.words.asking import Asker
from gnnrec.words.concepts import Unusual, Vocabulary
from gnnrec.words.settings import DescribeConfig

VERSION = 1  # of what a captioning model is asked; part of the cache's key
OFFLINE = "measured"  # made_by of a description without a captioning model
MEASURED = "measured.sqlite"  # in the folder `words` of the cache
NEIGHBORS = GraphConfig(neighbors=10)
# Of 10 neighbours. Of what this says about the movies, 58 % stands in the item's own text too, by chance 28 % would.
CONCEPTS = Unusual(most=3, least=5, share=0.5, lift=1.5)
SURE = 0.3  # probability of a tag that is told
MOST_TAGS = 4
DESCRIBED = ("image", "audio")


class Description(NamedTuple):
    row: int  # of the catalogue
    modality: str  # image | audio
    text: str
    made_by: str  # a model with its revision or address, or OFFLINE


@dataclass(frozen=True, slots=True)
class Descriptions:
    rows: tuple[Description, ...] = ()
    failures: tuple[str, ...] = field(default=())  # why the captioning model had no answer, one for each question

    def texts(self, num_rows: int) -> list[str | None]:
        """What is said of each row of the catalogue, its picture first. [I]"""
        parts: list[list[str]] = [[] for _ in range(num_rows)]
        for description in self.rows:
            parts[description.row].append(description.text)
        return [" ".join(own) or None for own in parts]

    def made_by(self) -> dict[str, int]:
        """How many each maker made."""
        counts: dict[str, int] = {}
        for description in self.rows:
            counts[description.made_by] = counts.get(description.made_by, 0) + 1
        return dict(sorted(counts.items()))


def describe(
    catalog: Catalog | None,
    features: Mapping[str, Features],
    encoders: EncodersConfig,
    config: DescribeConfig,
    cache: Path,
) -> Descriptions:
    """Every picture and every sound of a catalogue that can be read.

    features: by modality, by which neighbours are found. cache: the folder of what was measured and answered.
    Raises UserError for a model that is not here.
    """
    rows: list[Description] = []
    failures: list[str] = []
    for modality in DESCRIBED:
        paths = ((catalog.media or {}) if catalog else {}).get(modality, ())
        hashes = [hash_of_file(path) for path in paths]
        if catalog is None or not any(hashes):
            continue
        measured = _measured(modality, paths, hashes, encoders, cache)
        # Nobody is asked about what cannot be read, nor is anything said of it.
        hashes = [None if text is None else content for text, content in zip(measured, hashes)]
        parts = [measured]
        if modality == "audio":
            parts.append(_tags(paths, encoders, cache))
        if modality in features:
            parts.append(_like_it(modality, features[modality], catalog))
        captions: Sequence[tuple[str, str] | None] = [None] * len(paths)
        if modality == "image" and config.model:
            captions, failed = _captions(paths, hashes, config, cache)
            failures += failed
        for row, (caption, *said) in enumerate(zip(captions, *parts)):
            text, maker = caption or (" ".join(part for part in said if part), OFFLINE)
            if text and hashes[row] is not None:
                rows.append(Description(row, modality, text, maker))
    return Descriptions(tuple(rows), tuple(failures))


def hash_of_file(path: Path | None) -> str | None:
    """sha256 of the bytes; None where there is no file that can be opened."""
    try:
        return None if path is None else sha256_of_file(path)
    except OSError:
        return None


def _measured(
    modality: str, paths: Sequence[Path | None], hashes: Sequence[str | None], encoders: EncodersConfig, cache: Path
) -> list[str | None]:
    """What is measured of each file, once for its content; None where it cannot be read."""
    how = f"look {look.VERSION}" if modality == "image" else f"hear {sound.VERSION} {encoders.audio_seconds:g}"
    said: list[str | None] = []
    with AnswerCache(cache / MEASURED) as kept:
        for path, content in progress(list(zip(paths, hashes)), text=f"measuring {modality}", unit="file"):
            if path is None or content is None:
                said.append(None)
                continue
            text = kept.get(key := key_of([how, content]))
            if text is None:
                try:
                    text = _measure(modality, path, encoders.audio_seconds)
                except Unreadable:
                    said.append(None)
                    continue
                kept.put(key, text)
            said.append(text)
    return said


def _measure(modality: str, path: Path, seconds: float) -> str:
    if modality == "image":
        return f"The picture is {look.look(read_image(path))}."
    return f"The sound is {sound.hear(read_audio(path, sound.RATE, seconds))}."


def _tags(paths: Sequence[Path | None], encoders: EncodersConfig, cache: Path) -> list[str | None]:
    """What musicnn hears, where its weights are here."""
    if locate("musicnn") is None:
        return [None] * len(paths)
    encoder = open_encoder("audio", "musicnn", default_device())
    assert isinstance(encoder, MusicnnEncoder)
    heard = encode_contents(paths, "audio", encoder, encoders, cache.parent / "features")
    said: list[str | None] = []
    for probabilities, there in zip(encoder.tags_of(heard.values), heard.mask):
        order = np.argsort(-probabilities, kind="stable")
        names = dict.fromkeys(encoder.tags[place].lower() for place in order if probabilities[place] >= SURE)
        said.append(f"It has {look.listed(list(names)[:MOST_TAGS])}." if there and names else None)
    return said


def _like_it(modality: str, features: Features, catalog: Catalog) -> list[str | None]:
    """The words that the nearest items' texts have unusually often. [I]"""
    from scipy.sparse import csr_array

    said: list[str | None] = [None] * len(catalog)
    known = torch.from_numpy(np.flatnonzero(features.mask))
    if len(known) < 2 or not catalog.text_columns:
        return said
    values = torch.from_numpy(features.values)[known]
    mean, scale = mean_and_scale(values)
    edges, _ = nearest_edges((values - mean) / scale, torch.arange(len(known)), NEIGHBORS)
    source, target = known[edges].numpy()
    near = csr_array((np.ones(len(source)), (target, source)), shape=(len(catalog), len(catalog)))  # k a row
    what = {"image": "Pictures", "audio": "Sounds"}[modality]
    for row, words in enumerate(Vocabulary.of(catalog).unusual(near, CONCEPTS)):
        if words:
            said[row] = f"{what} like it often stand for {look.listed(words)}."
    return said


def _captions(
    paths: Sequence[Path | None], hashes: Sequence[str | None], config: DescribeConfig, cache: Path
) -> tuple[list[tuple[str, str] | None], list[str]]:
    """Text and maker of each picture that the model has an answer to, and why the others have none."""
    said: list[tuple[str, str] | None] = []
    with ExitStack() as stack:
        captioner = open_captioner(config.provider, config.model, config.base_url, config.budget())
        asker = stack.enter_context(Asker(cache))
        for path, content in progress(list(zip(paths, hashes)), text=f"asking {captioner.name}", unit="picture"):
            text = None
            if path is not None and content is not None:
                how = caption_depends_on(captioner, config, content)
                text = asker.ask(how, partial(_caption, captioner, path))
            said.append((text, captioner.name) if text is not None else None)
        return said, asker.failures


def caption_depends_on(captioner: Captioner, config: DescribeConfig, content: str) -> list[object]:
    """Everything a caption depends on; `content` is the hash of the file."""
    how = {"temperature": 0, "max_tokens": MAX_TOKENS, "side": SIDE}
    return ["caption", VERSION, captioner.name, config.revision, SYSTEM, PROMPT, how, TEXT_SCHEMA, content]


def _caption(captioner: Captioner, path: Path) -> str:
    try:
        return captioner.caption(read_image(path))
    except Unreadable as error:
        raise NoAnswer(str(error)) from error
