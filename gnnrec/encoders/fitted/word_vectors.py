"""Texts as means of word vectors: trained on the items' own texts, or out of a file of word2vec or GloVe.

Word2vec: skip-gram with negative sampling (Mikolov et al. 2013), trained by gensim. SIF: smooth inverse frequency
(Arora, Liang and Ma 2017). Letters: n texts, v words, d dimensions.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.fitted.tokens import check_tokens, resolve, tokenizer_of
from gnnrec.encoders.fitted.vector_files import read_vectors
from gnnrec.encoders.fitted.word_table import TERMS, WEIGHTS, WordTable, save_word_vectors
from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.encoders.pretrained import require
from gnnrec.errors import UserError, missing_extra

WEIGHTINGS = ("mean", "sif")


@dataclass(frozen=True, slots=True, kw_only=True)
class WordVectorsConfig:
    source: str = ""  # a file of word vectors, or a folder or name of this kind as "glove"; "": trained here
    tokens: str = "plain"  # how texts are cut, as tokens.TOKENS lists it
    weighting: str = "mean"  # or sif: rare words count more, and what all texts share is taken out
    smoothing: float = 1e-3  # a of SIF: a word counts a / (a + its share of the items' texts)
    words: int = 100_000  # that are kept: the most frequent, of a file the first
    # of training alone
    dim: int = 100
    window: int = 5  # words to each side
    negative: int = 5  # words drawn against each one seen
    epochs: int = 50
    rarest: int = 2  # times that a word has to stand in the texts
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("dim", "window", "epochs", "rarest", "negative", "words"):
            if getattr(self, key) < 1:
                raise UserError(f"encoder.{key}: found {getattr(self, key)}; allowed: 1 or more")
        if not 0 <= self.seed < 1 << 32:
            raise UserError(f"encoder.seed: found {self.seed}; allowed: 0 to 2^32 - 1")
        if not 0 < self.smoothing < float("inf"):
            raise UserError(f"encoder.smoothing: found {self.smoothing}; allowed: more than 0")
        if self.weighting not in WEIGHTINGS:
            raise UserError(f"encoder.weighting: found {self.weighting!r}; allowed: {', '.join(WEIGHTINGS)}")
        check_tokens(self.tokens)


class WordVectorsEncoder:
    """Texts -> means of their words' vectors, each word as it stands, else in lower case; others are left out.

    A text without any known word is zero. Neither gensim nor the source is needed.
    """

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.numpy import load_file

        tensors = load_file(folder / WEIGHTS)
        terms = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        self.name = name
        self._vectors = tensors["vectors"]  # [v, d]
        self.dim = self._vectors.shape[1]
        self._component = tensors.get("component")  # [d], or None
        self._rows = {word: row for row, word in enumerate(terms["words"])}
        if not len(self._rows) == len(terms["counts"]) == len(self._vectors):
            raise ValueError(f"{TERMS} names {len(self._rows)} words, {WEIGHTS} has {len(self._vectors)}")
        self._weights = word_weights(np.array(terms["counts"]), terms["weighting"], terms["smoothing"])
        self._words = tokenizer_of(terms["tokens"], terms["chinese"])

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        found = [known_rows(words, self._rows) for words in self._words(batch)]
        means = _means(found, self._vectors, self._weights)
        return means if self._component is None else _without(self._component, means)


def fit_word_vectors(corpus: Corpus, config: WordVectorsConfig, folder: Path) -> dict[str, Any]:
    """The log is not looked at. Raises UserError for a source that cannot be read or shares no word with the texts."""
    texts = [str(text) for text in corpus.contents if text is not None]
    tokens, chinese = resolve(config.tokens, texts)
    cut = list(tokenizer_of(tokens, chinese)(texts))  # n
    table = _given(config) if config.source else _trained(cut, config)
    rows = {word: row for row, word in enumerate(table.words)}
    found = [known_rows(words, rows) for words in cut]
    counts = np.bincount([row for known in found for row in known], minlength=len(rows))  # [v]
    if not counts.any():
        raise UserError(f"encoder.source: found {config.source!r}, which has no word of the items' texts")
    component = None
    if config.weighting == "sif":
        weights = word_weights(counts, config.weighting, config.smoothing)
        component = first_component(_means(found, table.vectors, weights))
    how = {"tokens": tokens, "chinese": chinese, "weighting": config.weighting, "smoothing": config.smoothing}
    save_word_vectors(folder, table, counts, how, component)
    known = sum(map(len, found)) / max(1, sum(map(len, cut)))
    return {"dim": table.vectors.shape[1], "words": len(rows), "tokens": tokens, "share_known": round(known, 4)}


def known_rows(words: Iterable[str], rows: Mapping[str, int]) -> list[int]:
    """Rows of the words that are known, as they stand or in lower case; a word counts as often as it stands."""
    found = (rows.get(word, rows.get(word.lower())) for word in words)
    return [row for row in found if row is not None]


def word_weights(counts: NDArray[np.int64], weighting: str, smoothing: float) -> NDArray[np.float32]:
    """One for each word; by SIF a / (a + p), p a word's share of all known ones in the items' texts. [v]"""
    if weighting == "mean":
        return np.ones(len(counts), dtype=np.float32)
    return (smoothing / (smoothing + counts / max(1, counts.sum()))).astype(np.float32)


def first_component(means: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first right singular vector of the texts, not centred, as in the paper; its sign does not matter. [d]"""
    wide = means.astype(np.float64)
    return np.linalg.eigh(wide.T @ wide).eigenvectors[:, -1].astype(np.float32)


def _means(
    found: Sequence[Sequence[int]], vectors: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The sum of weighted vectors over the number of known words. [n, d]"""
    means = np.zeros((len(found), vectors.shape[1]), dtype=np.float32)
    for place, rows in enumerate(found):
        if rows:
            means[place] = weights[rows] @ vectors[rows] / len(rows)
    return means


def _without(component: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float32]:
    return means - np.outer(means @ component, component)


def _given(config: WordVectorsConfig) -> WordTable:
    """Words of a file, or of a folder of this kind."""
    path = Path(config.source).expanduser()
    folder = path
    if not path.exists() and config.source in PRETRAINED:
        folder = require(config.source)
    if not folder.is_dir():
        return read_vectors(path, config.words)
    if (read_facts(folder) or {}).get("kind") != "word_vectors":
        raise UserError(f"encoder.source: found {folder}, which holds no word vectors")
    from safetensors.numpy import load_file

    words: list[str] = json.loads((folder / TERMS).read_text(encoding="utf-8"))["words"][: config.words]
    return WordTable(words, load_file(folder / WEIGHTS)["vectors"][: config.words])


def _trained(cut: Sequence[Sequence[str]], config: WordVectorsConfig) -> WordTable:
    """The same texts and seed give the same vectors: one thread, words by frequency and then as they first stood."""
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise missing_extra("words", "gensim") from error
    texts = [[word.lower() for word in words] for words in cut]
    try:
        model = Word2Vec(
            texts,
            vector_size=config.dim,
            window=config.window,
            negative=config.negative,
            epochs=config.epochs,
            min_count=config.rarest,
            max_final_vocab=config.words,
            seed=config.seed,
            sg=1,
            workers=1,
            hashfxn=_hash,
        )
    except RuntimeError as error:  # gensim's word for an empty vocabulary
        found = f"no word stands {config.rarest} times in the texts"
        raise UserError(f"encoder.rarest: {found}; allowed: a smaller number") from error
    return WordTable(list(model.wv.index_to_key), model.wv.vectors)


def _hash(word: str) -> int:
    """Python's own changes from process to process."""
    return zlib.crc32(word.encode())
