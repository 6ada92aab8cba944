"""Descriptions and profiles as modalities of the graph, from a recipe's setting to a run that records them."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from gnnrec.datasets import Dataset, split
from gnnrec.encoders import Features
from gnnrec.errors import UserError
from gnnrec.graph import item_modalities, user_modalities
from gnnrec.pipeline import evaluate, train, training_graph, written_content
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run
from gnnrec.words import content


class Letters:
    """A text encoder of a test: how often each letter stands in a text."""

    name, dim = "letters@1", 26

    def encode(self, batch: Any) -> NDArray[np.float32]:
        return np.array([[text.lower().count(chr(97 + n)) for n in range(26)] for text in batch], dtype=np.float32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "open_encoder", lambda *_: Letters())


FEW = ("train.epochs=2", "model.dim=8", "train.batch_size=128")


def recipe_of(*settings: str) -> Recipe:
    return load_recipe(overrides=[*FEW, *settings])


def test_descriptions_and_profiles_are_modalities_of_a_run(tiny_data: Path, tmp_path: Path) -> None:
    said: list[str] = []
    dataset = Dataset.load(tiny_data)
    run = train(dataset, tmp_path / "run", recipe_of("graph.descriptions=true", "graph.profiles=true"), say=said.append)
    assert item_modalities(run.graph) == ("description", "image", "profile", "text")
    assert user_modalities(run.graph) == ("user_profile",)
    assert run.graph["user_profile"].x.shape == (40, 26)
    run = Run.load(tmp_path / "run")
    assert run.recipe.graph.descriptions and run.recipe.graph.profiles
    assert run.provenance["written"] == {
        "description": {"made_by": {"measured": 31}, "failures": 0},
        "user_profile": {"made_by": {"template": 40}, "refused": 0, "failures": 0},
        "item_profile": {"made_by": {"template": 32}, "refused": 0, "failures": 0},
    }
    assert run.provenance["encoders"]["items"]["description"] == "letters@1"
    assert "descriptions of items: 31 by measured" in said and "profiles of users: 40 by template" in said
    assert evaluate(run).metrics["recall@20"] > 0


def test_without_the_settings_nothing_is_written(tiny_data: Path) -> None:
    dataset, recipe = Dataset.load(tiny_data), recipe_of()
    written = written_content(dataset, split(dataset, recipe.split_config(dataset)), {}, recipe)
    assert (written.items, written.users, written.record) == ({}, {}, {})


def test_a_graph_made_elsewhere_has_them_too(tiny_data: Path) -> None:
    dataset, recipe = Dataset.load(tiny_data), recipe_of("graph.profiles=true")
    graph = training_graph(dataset, split(dataset, recipe.split_config(dataset)), {}, {}, recipe)
    assert item_modalities(graph) == ("profile",) and user_modalities(graph) == ("user_profile",)


@pytest.mark.parametrize("key", ["descriptions", "profiles"])
def test_what_cannot_be_written_is_one_clear_line(planted_folder: Path, tiny_data: Path, key: str) -> None:
    made = Features(values=np.zeros((1, 1), dtype=np.float32), mask=np.ones(1, dtype=np.bool_), encoder="given")

    def graph(folder: Path, *settings: str, **given: Features) -> None:
        dataset, recipe = Dataset.load(folder), recipe_of(f"graph.{key}=true", *settings)
        written_content(dataset, split(dataset, recipe.split_config(dataset)), given, recipe)

    with pytest.raises(UserError, match=f"graph.{key}: needs a text encoder, but encoders.text is 'none'"):
        graph(tiny_data, "encoders.text=none")
    if key == "descriptions":
        with pytest.raises(UserError, match="graph.descriptions: no item has a picture or a sound"):
            graph(planted_folder)
    with pytest.raises(UserError, match="(profiles|describe).model is 'nope': allowed are"):
        graph(tiny_data, "profiles.model=nope", "describe.model=nope")
    with pytest.raises(UserError, match=f"graph.{key}: the dataset has features of the name"):
        graph(tiny_data, description=made, profile=made)


def test_the_originals_stay_as_they_are(one_document: Any, run_command: Any, tiny_data: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in sorted(tiny_data.rglob("*")) if path.is_file()}
    found = one_document("describe", tiny_data, "--out", tmp_path / "out")
    assert found["made_by"] == {"measured": 31} and found["failures"] == []
    assert {path: path.read_bytes() for path in sorted(tiny_data.rglob("*")) if path.is_file()} == before
    file = tmp_path / "out" / "descriptions.csv.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        assert list(csv.DictReader(lines)) == found["descriptions"]
    first = file.read_bytes()
    status, out, _ = run_command("describe", tiny_data, "--out", tmp_path / "out")
    assert status == 0 and "descriptions, generated" in out and out.rstrip().endswith(str(file))
    assert file.read_bytes() == first
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["descriptions.csv.gz"]


def test_profiles_of_everybody(one_document: Any, tiny_data: Path) -> None:
    found = one_document("profiles", tiny_data)
    assert found["made_by"] == {"user": {"template": 40}, "item": {"template": 32}}
    texts = {(row["kind"], row["id"]): row["text"] for row in found["profiles"]}
    # Users with even numbers like items with even numbers, which are of action and war.
    assert texts["user", "u2"].startswith("Likes action and war; lately Title ")
    assert texts["item", "i3"].startswith("For people who like comedy and drama. Taken together with Title ")


def test_nothing_to_describe(run_command: Any, tmp_path: Path) -> None:
    pl.DataFrame({"user": ["a", "b"], "item": ["x", "y"]}).write_csv(tmp_path / "log.csv")
    (tmp_path / "dataset.toml").write_text('[interactions]\npath = "log.csv"')
    for name, message in (("describe", "no content that could be described"), ("profiles", "the items have no text")):
        status, out, err = run_command(name, tmp_path)
        assert (status, out) == (2, "") and message in err
