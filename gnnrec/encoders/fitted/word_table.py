"""Words and their vectors, and how they stand in the folder of an encoder. Letters: v words, d dimensions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS, TERMS = "model.safetensors", "terms.json"


@dataclass(frozen=True, slots=True)
class WordTable:
    words: list[str]  # v, each once
    vectors: NDArray[np.float32]  # [v, d]


def save_word_vectors(
    folder: Path,
    table: WordTable,
    counts: NDArray[np.int64],
    how: Mapping[str, Any],
    component: NDArray[np.float32] | None = None,
) -> None:
    """how: tokens and chinese as `tokens.resolve` gives them, weighting, smoothing. counts: of each word. [v]"""
    from safetensors.numpy import save_file

    tensors = {"vectors": np.ascontiguousarray(table.vectors, dtype=np.float32)}
    if component is not None:
        tensors["component"] = component
    save_file(tensors, folder / WEIGHTS)
    terms = {**how, "words": table.words, "counts": counts.tolist()}
    (folder / TERMS).write_text(json.dumps(terms, ensure_ascii=False), encoding="utf-8")
