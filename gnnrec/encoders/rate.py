"""How fast the content of a dataset is encoded here, measured on a few rows of it."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gnnrec.datasets.dataset import Dataset
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import EncodersConfig, default_device, encode_contents

ROWS = 32  # of each modality, drawn at random, after as many that are not counted


def encoding_rates(dataset: Dataset, config: EncodersConfig) -> list[dict[str, Any]]:
    """Rows {"modality", "encoder", "items_per_second"} of the items' content; nothing is kept of it."""
    catalog, found = config.items_of(dataset), []
    for modality in catalog.modalities() if catalog else ():
        name = config.encoder_of(modality)
        if name is None or modality in dataset.item_features:
            continue
        assert catalog is not None
        contents = [content for content in catalog.content(modality) if content is not None]
        drawn = np.random.default_rng(0).permutation(len(contents))[: 2 * ROWS]
        encoder = open_encoder(modality, name, default_device(), config.pooling)
        rows = [contents[place] for place in drawn]
        spent = 0.0
        for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):  # the first part warms up
            with tempfile.TemporaryDirectory() as cache:
                began = time.perf_counter()
                encode_contents(part, modality, encoder, replace(config, batch_size=16), Path(cache))
                spent = time.perf_counter() - began
        rate = len(rows[len(rows) // 2 :]) / spent
        found.append({"modality": modality, "encoder": encoder.name, "items_per_second": rate})
    return found
