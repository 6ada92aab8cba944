"""Protocols for missing modalities: a share of all (item, modality) contents is taken away, at random or in blocks.

As studied for recommenders by Malitesta et al. 2024 (arXiv 2408.11767), whose removal is the random one. Blocks are how
content is missing in a shop: a whole kind of thing came without pictures. What is then left of the gain that content
brings is measured as in ablation.py, for each way of graph.missing. Letters: I items, M modalities.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.graph import MISSING
from gnnrec.modalities.ablation import MEASURES, Trial, Values, measured
from gnnrec.modalities.cold import side_by_side
from gnnrec.recipe import Recipe
from gnnrec.significance import compare
from gnnrec.vectors import unit_length

PATTERNS = ("random", "blocks")
Kept = dict[str, dict[str, float | None]]  # by measure
ALL, NONE = "all content", "no content"
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


def gain_left(
    trials: Sequence[Trial],
    recipe: Recipe,
    shares: Sequence[float],
    out: Path | None = None,
    *,
    patterns: Sequence[str] = PATTERNS,
    methods: Sequence[str] = MISSING,
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """A row for all content, for none, and for each share, pattern and method of graph.missing.

    trials: one for each seed, counted from train.seed, each with its own cold items. A row has NDCG@10 by measure and
    seed, and `kept`: of each measure {"gain": over no content, "p": of that, "share": of what all the content gains,
    None where that is nothing}. Contents are taken from cold items too. `out` keeps every finished training.
    """

    def runs(method: str, share: float, pattern: str = PATTERNS[0]) -> list[Values]:
        found = []
        for seed, trial in enumerate(trials, recipe.train.seed):
            items = remove_contents(trial.items, share, pattern, seed) if 0 < share < 1 else trial.items
            own = replace(recipe, graph=replace(recipe.graph, missing=method))
            kept = () if share == 1 else tuple(sorted(items))
            found.append(measured(replace(trial, items=items), own, kept, seed, out))
        return found

    full, none = (runs(MISSING[0], share) for share in (0.0, 1.0))
    rows = []
    asked = [(ALL, full), (NONE, none)]
    for share, pattern, method in product(shares, patterns, methods):
        asked.append((f"{share:.0%} {pattern}, {method}", runs(method, share, pattern)))
        say(", ".join([asked[-1][0], *(f"{name} {_mean(asked[-1][1], name):.4f}" for name in MEASURES)]))
    for removed, found in asked:
        values = [{name: float(one[name][1].mean()) for name in MEASURES} for one in found]
        rows.append({"removed": removed, "values": values, "kept": _kept(found, full, none)})
    return rows


def _mean(found: Sequence[Values], name: str) -> float:
    return float(np.mean([one[name][1].mean() for one in found]))


def _kept(
    found: Sequence[Values], full: Sequence[Values], none: Sequence[Values]
) -> dict[str, dict[str, float | None]]:
    shares: dict[str, dict[str, float | None]] = {}
    for name in MEASURES:
        own, most, least = (np.concatenate([one[name][1] for one in some]) for some in (found, full, none))
        users = np.arange(len(own))  # a user once for each seed, since each has cold items of its own
        against = compare(own, least, first_users=users, second_users=users)
        brought = float(most.mean() - least.mean())
        share = against.difference / brought if brought > 0 else None
        shares[name] = {"share": share, "gain": against.difference, "p": against.p_randomisation}
    return shares
