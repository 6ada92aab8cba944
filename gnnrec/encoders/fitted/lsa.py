"""Latent semantic analysis: TF-IDF and a truncated SVD of it, the plain baseline of text (Deerwester et al. 1990).

Letters: n texts, v terms, d dimensions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.errors import UserError
from gnnrec.vectors import unit_length

WEIGHTS, TERMS = "model.safetensors", "terms.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class LsaConfig:
    dim: int = 256  # at most one less than there are texts or terms
    terms: int = 50_000  # the most frequent ones that are kept
    rarest: int = 2  # texts that a term has to be in
    letters: bool = False  # terms are runs of 2 to 4 letters instead of words: for scripts without spaces

    def __post_init__(self) -> None:
        for key in ("dim", "terms", "rarest"):
            if getattr(self, key) < 1:
                raise UserError(f"encoder.{key}: found {getattr(self, key)}; allowed: 1 or more")


class LsaEncoder:
    """Texts -> unit vectors; a text without any known term is zero."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        from safetensors.numpy import load_file

        weights = load_file(folder / WEIGHTS)
        terms = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        self.name = name
        self._axes = weights["axes"]  # [v, d]
        self._vectorizer = _vectorizer(
            terms["letters"], vocabulary={term: row for row, term in enumerate(terms["terms"])}
        )
        self._vectorizer.idf_ = weights["idf"]
        self.dim = self._axes.shape[1]

    def encode(self, batch: Sequence[Any]) -> NDArray[np.float32]:
        rows = self._vectorizer.transform(list(batch)) @ self._axes
        return unit_length(np.asarray(rows, dtype=np.float32))


def fit_lsa(corpus: Corpus, config: LsaConfig, folder: Path) -> dict[str, Any]:
    """The log is not looked at. Raises UserError where no term is in as many texts as `rarest`."""
    from safetensors.numpy import save_file
    from sklearn.utils.extmath import randomized_svd

    texts = [str(text) for text in corpus.contents if text is not None]
    vectorizer = _vectorizer(config.letters, max_features=config.terms, min_df=min(config.rarest, len(texts)))
    try:
        weights = vectorizer.fit_transform(texts)  # [n, v]
    except ValueError as error:
        raise UserError(f"encoder.rarest: no term is in {config.rarest} texts; allowed: a smaller number") from error
    dim = min(config.dim, min(weights.shape) - 1) or 1
    _, _, axes = randomized_svd(weights, dim, n_iter=10, random_state=0)  # [d, v]
    terms = list(vectorizer.get_feature_names_out())
    save_file({"idf": vectorizer.idf_, "axes": np.ascontiguousarray(axes.T, dtype=np.float32)}, folder / WEIGHTS)
    (folder / TERMS).write_text(json.dumps({"letters": config.letters, "terms": terms}), encoding="utf-8")
    return {}


def _vectorizer(letters: bool, **how: Any) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    kind = {"analyzer": "char_wb", "ngram_range": (2, 4)} if letters else {"ngram_range": (1, 2)}
    return TfidfVectorizer(sublinear_tf=True, strip_accents="unicode", dtype=np.float32, **kind, **how)
