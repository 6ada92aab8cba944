"""Protocols for missing modalities: a share of all (item, modality) contents is taken away, at random or in blocks.

As studied for recommenders by Malitesta et al. 2024 (arXiv 2408.11767), whose removal is the random one. Blocks are how
content is missing in a shop: a whole kind of thing came without pictures. Letters: I items, M modalities.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.modalities.cold import side_by_side
from gnnrec.vectors import unit_length

PATTERNS = ("random", "blocks")
GROUPS = 20  # of like items, the units of the blocks


def remove_contents(features: Mapping[str, Features], share: float, pattern: str, seed: int = 0) -> dict[str, Features]:
    """The features without `share` of the contents that are there, rounded down, over all modalities together.

    random  each content has the same chance, whatever else the item has
    blocks  each item belongs to the nearest of GROUPS items drawn by lot, by cosine of all its content before anything
            is taken away; a group loses a modality whole, (group, modality) pairs in random order, the last one in part

    Raises UserError for another pattern or a share outside 0 to 1.
    """
    if pattern not in PATTERNS:
        raise UserError(f"missing content: pattern {pattern!r}; allowed: {', '.join(PATTERNS)}")
    if not 0 <= share <= 1:
        raise UserError(f"missing content: share {share}; allowed: 0 to 1")
    names, random = sorted(features), np.random.default_rng(seed)
    there = np.stack([features[name].mask for name in names])  # [M, I]
    lot = random.random(there.shape)
    if pattern == "blocks":
        lot += random.permutation(len(names) * GROUPS).reshape(len(names), GROUPS)[:, groups_of(features, random)]
    order = np.argsort(np.where(there, lot, np.inf), axis=None)
    gone = np.zeros(there.size, dtype=bool)
    gone[order[: int(share * there.sum())]] = True
    left = there & ~gone.reshape(there.shape)
    return {
        name: replace(features[name], values=features[name].values * mask[:, None], mask=mask)
        for name, mask in zip(names, left)
    }


def groups_of(features: Mapping[str, Features], random: np.random.Generator) -> NDArray[np.int64]:
    """Which of GROUPS items drawn by lot each item is nearest to. [I]"""
    content = unit_length(side_by_side(features).values)
    centres = content[random.permutation(len(content))[:GROUPS]]
    # Rounded, so that equal items are in one group whatever the last bits of their products are.
    nearest: NDArray[np.int64] = np.round(content @ centres.T, 5).argmax(axis=1)
    return nearest
