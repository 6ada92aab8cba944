"""Contents taken away: as many as asked for, at random or a group's whole modality, and nothing is left of them."""

from pathlib import Path

import numpy as np
import pytest

from gnnrec.content_tables import study_tables
from gnnrec.datasets import planted, split
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.graph import MISSING
from gnnrec.modalities import study_modalities
from gnnrec.modalities.ablation import MEASURES, measured, prepare
from gnnrec.modalities.missing import GROUPS, PATTERNS, gain_left, remove_contents
from gnnrec.modalities.pictures import draw_study
from gnnrec.recipe import load_recipe

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


def test_what_is_left_of_the_gain_is_that_of_the_trainings_behind_it() -> None:
    """Text decides, so that content gains much on cold items; the more of it is gone, the less is left of that."""
    dataset = planted("text", num_users=200, num_items=150)
    features = {name: from_array(values) for name, values in dataset.item_features.items()}
    recipe = load_recipe(
        None, ["model.dim=16", "model.factors=false", "model.spectrum=false", "train.epochs=6", "train.seed=4"]
    )
    trials = [prepare(dataset, split(dataset), features, {}, seed) for seed in (4, 5)]
    found = {row["removed"]: row for row in gain_left(trials, recipe, (0.25, 0.75), methods=("drop",))}
    assert list(found)[:3] == ["all content", "no content", "25% random, drop"] and len(found) == 6
    cold = {name: row["kept"]["cold items"] for name, row in found.items()}
    assert cold["all content"]["share"] == pytest.approx(1) and cold["all content"]["p"] < 0.01
    assert cold["no content"]["share"] == cold["no content"]["gain"] == 0
    assert cold["25% random, drop"]["share"] > cold["75% random, drop"]["share"] + 0.2
    bare = measured(trials[1], recipe, (), 5)
    assert found["no content"]["values"][1] == {name: bare[name][1].mean() for name in MEASURES}


def test_the_study_takes_contents_away_where_it_is_asked(tmp_path: Path) -> None:
    dataset = planted("text", num_users=60, num_items=60)
    recipe = load_recipe(None, ["model.dim=8", "model.factors=false", "model.spectrum=false", "model.paths=false"])
    skip = ("agreement", "alignment", "consumption", "ablation")
    study = study_modalities(dataset, recipe, epochs=1, skip=skip, missing=[0.5])
    assert len(study["missing"]) == 2 + len(PATTERNS) * len(MISSING)
    assert "50% blocks, zero" in study_tables(study) and "gain kept" in study_tables(study)
    assert [path.name for path in draw_study(study, tmp_path)] == ["missing_content.png"]
    assert "missing" not in study_modalities(dataset, recipe, epochs=1, skip=skip)
    with pytest.raises(UserError, match="--missing: found 1; allowed: above 0, below 1"):
        study_modalities(dataset, recipe, skip=skip, missing=[1.0])
