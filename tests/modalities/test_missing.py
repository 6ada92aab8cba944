"""Contents taken away: as many as asked for, at random or a group's whole modality, and nothing is left of them."""

import numpy as np
import pytest

from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.modalities.missing import GROUPS, PATTERNS, remove_contents

ITEMS = 600


def contents() -> dict[str, Features]:
    """Some pictures are missing from the start; items are of GROUPS kinds, and those of a kind are the same."""
    random = np.random.default_rng(0)
    kind = np.arange(ITEMS) % GROUPS
    made = {name: random.normal(size=(GROUPS, 8))[kind] for name in "ab"}
    made["b"][:60] = np.nan
    return {name: from_array(values.astype(np.float32)) for name, values in made.items()}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
def test_the_share_is_met_and_what_is_gone_is_gone(pattern: str, share: float) -> None:
    before = contents()
    after = remove_contents(before, share, pattern, seed=3)
    there = sum(part.mask.sum() for part in before.values())
    assert sum(part.mask.sum() for part in after.values()) == there - int(share * there)
    for name, part in after.items():
        assert not part.values[~part.mask].any() and not (part.mask & ~before[name].mask).any()
        np.testing.assert_array_equal(part.values[part.mask], before[name].values[part.mask])


def test_at_random_each_content_has_the_same_chance_and_seeds_differ() -> None:
    before, after = contents(), remove_contents(contents(), 0.5, "random", seed=3)
    for name, part in after.items():
        assert part.mask.sum() / before[name].mask.sum() == pytest.approx(0.5, abs=0.07)
    assert not np.array_equal(after["a"].mask, remove_contents(contents(), 0.5, "random", seed=4)["a"].mask)
    both = (~after["a"].mask & ~after["b"].mask)[60:].mean()
    assert both == pytest.approx(0.25, abs=0.07)  # independent of what else the item has lost


def test_in_blocks_a_group_loses_a_modality_whole() -> None:
    before = contents()
    after = remove_contents(before, 0.5, "blocks", seed=3)
    whole, broken = 0, []
    for name, part in after.items():
        for kind in range(GROUPS):  # those of a kind are the same, so they are in one group
            left = part.mask[(np.arange(ITEMS) % GROUPS == kind) & before["b"].mask]
            whole += not left.any()
            broken += [name] if 0 < left.sum() < len(left) else []
    assert whole > GROUPS / 2 and len(set(broken)) <= 1  # only the last (group, modality) pair goes in part


@pytest.mark.parametrize(
    ("share", "pattern", "message"), [(0.5, "rows", "pattern 'rows'; allowed: random"), (1.5, "random", "0 to 1")]
)
def test_what_cannot_be_asked_for(share: float, pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        remove_contents(contents(), share, pattern)
