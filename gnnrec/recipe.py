"""The tree of all settings: strict TOML into frozen dataclasses. An unknown key is an error that lists the allowed."""

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from gnnrec.datasets import Dataset, SplitConfig
from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.fitted.finetuned import FinetuneConfig
from gnnrec.errors import UserError
from gnnrec.graph import GraphConfig
from gnnrec.models import MODELS
from gnnrec.models.modality_gnn import ModalityGNNConfig
from gnnrec.recipes import read_recipe
from gnnrec.training import TrainConfig
from gnnrec.words.settings import DescribeConfig, ProfilesConfig

FINETUNE = ".finetune"
FINETUNED = "encoders"  # folder of a run's own encoders, by modality
SECTIONS: dict[str, Any] = {  # beside model and split
    "encoders": EncodersConfig,
    "graph": GraphConfig,
    "train": TrainConfig,
    "describe": DescribeConfig,
    "profiles": ProfilesConfig,
    "finetune": FinetuneConfig,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    model_name: str = "modality_gnn"  # `name` in the section [model]
    model: Any = field(default_factory=ModalityGNNConfig)  # the config of that model, from MODELS
    split: Mapping[str, Any] = field(default_factory=dict)  # keys of SplitConfig, laid over the dataset's own
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)  # the encoders that learn the log before the model
    graph: GraphConfig = field(default_factory=GraphConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    describe: DescribeConfig = field(default_factory=DescribeConfig)  # where graph.descriptions is on
    profiles: ProfilesConfig = field(default_factory=ProfilesConfig)  # where graph.profiles is on

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], where: str) -> "Recipe":
        _check_keys(document, ["model", "split", *SECTIONS], where)
        settings: dict[str, Any] = {
            name: parse_table(kind, document[name], f"{where}: {name}")
            for name, kind in SECTIONS.items()
            if name in document
        }
        if "split" in document:
            whole: SplitConfig = parse_table(SplitConfig, document["split"], f"{where}: split")
            settings["split"] = {key: getattr(whole, key) for key in document["split"]}
        model = dict(_table(document.get("model", {}), f"{where}: model"))
        name = model.pop("name", "modality_gnn")
        if name not in MODELS:
            raise UserError(f"{where}: model.name: found {name!r}; allowed: {', '.join(MODELS)}")
        return cls(model_name=name, model=parse_table(MODELS[name][1], model, f"{where}: model"), **settings)

    def to_dict(self) -> dict[str, Any]:
        document: dict[str, Any] = {name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS}
        split = {"split": dict(self.split)} if self.split else {}
        return {"model": {"name": self.model_name} | dataclasses.asdict(self.model)} | split | document

    def split_config(self, dataset: Dataset) -> SplitConfig:
        """How this recipe cuts the log of `dataset`: as the dataset says, but for the keys that are set here."""
        return dataclasses.replace(dataset.split, **self.split)

    def resolved(self, dataset: Dataset) -> "Recipe":
        """With every key of the split: what a run keeps, since the dataset may say otherwise later."""
        return dataclasses.replace(self, split=dataclasses.asdict(self.split_config(dataset)))

    def refuse_finetuning(self, verb: str) -> None:
        """Raises UserError where encoders are to be fine-tuned, for a verb that does not do it."""
        for modality in self.finetune.chosen():
            raise UserError(
                f"finetune.{modality}: {verb} does not fine-tune; allowed: none, with encoders.{modality} = a folder "
                "of gnnrec fit-encoder --kind finetuned"
            )

    def encoders_in(self, folder: Path) -> EncodersConfig:
        """The encoders of the run in `folder`, with those that were fine-tuned there in their places.

        Raises UserError where one is not there.
        """
        own: dict[str, Any] = {modality: str(folder / FINETUNED / modality) for modality in self.finetune.chosen()}
        for modality, path in own.items():
            if not Path(path).is_dir():
                raise UserError(f"{path}: no such folder; finetune.{modality} is on, and gnnrec train makes it")
        return dataclasses.replace(self.encoders, **own)

    def to_toml(self) -> str:
        return tomli_w.dumps(self.to_dict())


def load_recipe(name: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name or a TOML file by path, with "section.key=value" settings laid over it."""
    where, text = ("settings", "") if name is None else read_recipe(name)
    document = parse_toml(text, where)
    for override in overrides:
        _override(document, override)
    return Recipe.from_dict(document, where)


def with_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with "section.key=value" settings laid over it."""
    document = recipe.to_dict()
    for override in overrides:
        _override(document, override)
    return Recipe.from_dict(document, "settings")


def load_settings(kinds: Mapping[str, Any], overrides: Sequence[str]) -> list[Any]:
    """Settings that are no part of a recipe, from "section.key=value" alone: one of each section's dataclass."""
    document: dict[str, Any] = {}
    for override in overrides:
        _override(document, override)
    _check_keys(document, list(kinds), "--set")
    return [parse_table(kind, document.get(section, {}), f"--set: {section}") for section, kind in kinds.items()]


def parse_toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not valid TOML: {error}") from error


def _override(document: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if section == "encoders" and name.endswith(FINETUNE):  # encoders.text.finetune says finetune.text
        section, name = "finetune", name.removesuffix(FINETUNE)
    if not (equals and dot and section and name):
        raise UserError(f"--set {override!r}: expected section.key=value, as in train.epochs=20")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value  # a bare word is a string
    _table(document.setdefault(section, {}), section)[name] = parsed


def parse_table(kind: Any, table: Any, where: str) -> Any:
    """A dataclass from a table of TOML or JSON: known keys only, of the annotated types; an int passes for a float."""
    allowed = typing.get_type_hints(kind)
    _check_keys(_table(table, where), list(allowed), where)
    values = {}
    for key, value in table.items():
        expected = allowed[key]
        if expected is float and type(value) is int:
            value = float(value)
        if not _fits(value, expected):
            name = expected.__name__ if isinstance(expected, type) else str(expected)
            raise UserError(f"{where}.{key}: found {value!r}; allowed: a value of type {name}")
        values[key] = value
    return kind(**values)


def _fits(value: Any, expected: Any) -> bool:
    if isinstance(expected, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(expected))
    return type(value) is (typing.get_origin(expected) or expected)  # bool is an int, but not a count


def _table(value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: found {value!r}; expected a section")
    return value


def _check_keys(table: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}; allowed: {', '.join(allowed) or 'none'}")
