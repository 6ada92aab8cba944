"""Settings: strict, whole, and the same after a round trip."""

import dataclasses
import math
from pathlib import Path

import pytest

from gnnrec.errors import UserError
from gnnrec.models import MODELS
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.recipes import shipped_recipes


def test_every_shipped_recipe_loads_and_comes_back_the_same(tmp_path: Path) -> None:
    assert {"default", "lightgcn", *MODELS} - {"modality_gnn"} <= set(shipped_recipes())
    for name in shipped_recipes():
        recipe = load_recipe(name)
        path = tmp_path / f"{name}.toml"
        path.write_text(recipe.to_toml())
        assert load_recipe(str(path)) == recipe
        assert isinstance(recipe.model, MODELS[recipe.model_name][1])
    assert load_recipe("default").model_name == Recipe().model_name == "modality_gnn"
    assert load_recipe("lightgcn").train.loss == "bpr" and load_recipe("lightgcn").train.learning_rate == 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_every_field_survives_the_round_trip(name: str, tmp_path: Path) -> None:
    changed = Recipe(model_name=name, model=MODELS[name][1]())
    # What has to stay within 0 and 1; and heads have to divide dim.
    allowed = {"min_similarity": 0.25, "average": 0.5, "dropout": 0.5, "dim": 60, "heads": 5, "robust": 0.25}
    allowed |= {"delta": 0.5, "popularity_share": 0.5}
    for part in ("model", "encoders", "graph", "train", "describe", "profiles"):
        settings = getattr(changed, part)
        other = {
            field.name: allowed.get(field.name, getattr(settings, field.name) + 1)
            for field in dataclasses.fields(settings)
            if type(getattr(settings, field.name)) in (int, float)
        }
        changed = dataclasses.replace(changed, **{part: dataclasses.replace(settings, **other)})
    path = tmp_path / "settings.toml"
    path.write_text(changed.to_toml())
    assert load_recipe(str(path)) == changed


def test_set_lays_values_over_a_recipe() -> None:
    recipe = load_recipe(
        "lightgcn",
        [
            "model.dim=16",
            "train.learning_rate=1",
            "train.metric=recall@10",
            'encoders.text="none"',
            "graph.mutual=true",
            "split.method=random",
            "train.epochs=3",
            "train.epochs=4",
        ],
    )
    assert load_recipe(overrides=["encoders.text.finetune=lora"]).finetune.text == "lora"
    assert recipe.model.dim == 16 and recipe.model.similarity == "dot"
    assert recipe.train.learning_rate == 1.0 and isinstance(recipe.train.learning_rate, float)
    assert (recipe.train.metric, recipe.train.epochs, recipe.train.loss) == ("recall@10", 4, "bpr")
    assert recipe.encoders.text == "none" and recipe.graph.mutual is True
    assert recipe.split == {"method": "random"}
    assert math.isclose(load_recipe(overrides=["graph.min_similarity=0.25"]).graph.min_similarity, 0.25)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epoch=3", "train: unknown key 'epoch'; allowed: loss, temperature, .*epochs"),
        ("trian.epochs=3", "unknown key 'trian'; allowed: model, split, encoders, graph, train"),
        ("model.name=lightgbm", "model.name: found 'lightgbm'; allowed: popularity, .*modality_gnn"),
        ("model.shrink=3", "model: unknown key 'shrink'; allowed: dim, "),
        ("train.epochs=many", "train.epochs: found 'many'; allowed: a value of type int"),
        ("train.epochs=true", "train.epochs: found True; allowed: a value of type int"),
        ("train.epochs=2.5", "train.epochs: found 2.5; allowed: a value of type int"),
        ("graph.mutual=1", "graph.mutual: found 1; allowed: a value of type bool"),
        ("encoders.text=[1]", r"encoders.text: found \[1\]; allowed: a value of type str"),
        ("train.epochs=0", "train.epochs: found 0; allowed: 1 or more"),
        ("epochs=3", "--set 'epochs=3': expected section.key=value"),
        ("train.epochs", "--set 'train.epochs': expected section.key=value"),
        ("train.a.b=1", "train: unknown key 'a.b'"),
        ("describe.model=3", "describe.model: found 3; allowed: a value of type str"),
        ("describe.provider=cloud", "describe.provider: found 'cloud'; allowed: local, openai"),
        ("describe.base_url=http://me:secret@host/v1", "describe.base_url: found a name or password; allowed: a key"),
        ("profiles.calls=0", "profiles.calls: found 0; allowed: 1 or more"),
        ("profiles.seconds=0", "profiles.seconds: found 0.0; allowed: above 0"),
        ("profiles.history=0", "profiles.history: found 0; allowed: 1 or more"),
        ("profiles.noun=a;b", "profiles.noun: found 'a;b'; allowed: letters"),
        ("profiles.provider=openai", "profiles.model: found ''; allowed with openai"),
        ("split.method=best", "method 'best'; allowed: auto, published"),
    ],
)
def test_what_is_wrong_is_one_clear_line(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(overrides=[setting])
    assert "\n" not in str(caught.value)


def test_files_that_are_no_recipes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="recipe 'best': no such recipe; allowed: default, .*or a .toml file"):
        load_recipe("best")
    with pytest.raises(UserError, match=r"nowhere\.toml: cannot be read"):
        load_recipe(str(tmp_path / "nowhere.toml"))
    for number, (content, message) in enumerate(
        [
            (b"[train\nepochs = 1", "not valid TOML"),
            (b"train = 3", "train: found 3; expected a section"),
            (b"[train]\nepochs = '\xff'", "cannot be read"),
            (b"[train]\nepochs = 'x'", "train.epochs: found 'x'"),
        ]
    ):
        path = tmp_path / f"bad{number}.toml"
        path.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            load_recipe(str(path))
        assert str(path) in str(caught.value)
