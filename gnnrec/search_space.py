"""What a search of settings goes through, as text: `train.temperature=0.1..0.5:log model.layers=1,2,3`.

A range LOW..HIGH is for numbers, whole where the setting is whole; with :log every factor is as likely as every other.
Anything else is a list of values.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gnnrec.errors import UserError
from gnnrec.models import MODELS, EmbeddingModel
from gnnrec.recipe import Recipe

# Of every model what moves it most. The bounds are wide; a best value at one of them asks for a search beyond.
TRAINED = ("train.temperature=0.05..1:log", "train.learning_rate=3e-4..1e-2:log")
SEARCH: dict[str, tuple[str, ...]] = {
    "item_knn": ("model.neighbors=10..1000:log", "model.shrink=0.1..1000:log"),
    "ease": ("model.l2=1..5000:log",),
    "ials": ("model.dim=32,64,128", "model.l2=0.1..1000:log", "model.confidence=1..100:log"),
    "graph_filter": ("model.factors=16..512:log", "model.low_pass=0..1"),
    "lightgcn": (*TRAINED, "model.layers=1,2,3,4"),
    "vbpr": ("train.learning_rate=3e-4..1e-2:log", "train.weight_decay=1e-8..1e-4:log"),
    "modality_gnn": (
        "train.temperature=0.1..0.5:log",
        "train.learning_rate=1e-3..1e-2:log",
        "model.layers=1,2,3,4",
        "model.similar=0..2",
        "model.together=0..2",
        "model.item_bias=false,true",
    ),
}
# What decides how a setting is measured: trials that differ in it could not be compared.
FIXED = ("model.name", "train.metric", "train.seed")

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Axis:
    """The values of one setting: `choices`, or all from `low` to `high`."""

    key: str  # section.key
    choices: tuple[Value, ...] = ()
    low: int | float = 0
    high: int | float = 0
    log: bool = False


def parse_search(search: Sequence[str], recipe: Recipe) -> tuple[Axis, ...]:
    """The axes of a search of the settings of `recipe`; of nothing, what SEARCH has for its model.

    A model that is trained by gradients and has nothing there is searched by TRAINED.

    Every end and every choice is tried on the recipe. Raises UserError for an unknown key, an empty or impossible
    range, and a value that the setting does not take.
    """
    usual = TRAINED if issubclass(MODELS[recipe.model_name][0], EmbeddingModel) else ()
    texts = [text for part in search for text in part.split()] or list(SEARCH.get(recipe.model_name, usual))
    if not texts:
        raise UserError(f"--search: none is known for {recipe.model_name}; give section.key=LOW..HIGH or =a,b,c")
    axes = tuple(_axis(text, recipe) for text in texts)
    for number, axis in enumerate(axes):
        if axis.key in [before.key for before in axes[:number]]:
            raise UserError(f"--search {axis.key}: is there twice; allowed: once")
        for value in axis.choices or (axis.low, axis.high):
            with_settings(recipe, {axis.key: value}, "--search")
    return axes


def with_settings(recipe: Recipe, settings: Mapping[str, Value], where: str) -> Recipe:
    """The recipe with `section.key` settings laid over it. Raises UserError where they do not fit."""
    document = recipe.to_dict()
    for key, value in settings.items():
        section, _, name = key.partition(".")
        document[section][name] = value
    return Recipe.from_dict(document, where)


def _axis(text: str, recipe: Recipe) -> Axis:
    key, equals, values = text.partition("=")
    if not (equals and values):
        raise UserError(f"--search {text!r}: expected section.key=LOW..HIGH, =LOW..HIGH:log or =a,b,c")
    now = _setting(key, recipe)
    low, dots, rest = values.partition("..")
    if not dots or isinstance(now, str):
        return Axis(key, tuple(_value(part) for part in values.split(",")))
    if isinstance(now, bool):
        raise UserError(f"--search {key}: found {values!r}; allowed: true,false")
    high, colon, scale = rest.partition(":")
    kind = "whole numbers" if isinstance(now, int) else "numbers"
    ends = _value(low), _value(high)
    for end in ends:
        if type(end) is not int and (isinstance(now, int) or type(end) is not float or not math.isfinite(end)):
            raise UserError(f"--search {key}: found {values!r}; allowed: LOW..HIGH of {kind}, or a,b,c")
    first, last = (type(now)(end) for end in ends)
    if colon and scale != "log":
        raise UserError(f"--search {key}: found ':{scale}'; allowed: :log, or nothing")
    if not first < last:
        raise UserError(f"--search {key}: found {values!r}, which is empty; allowed: LOW..HIGH with LOW below HIGH")
    if scale and not first > 0:
        raise UserError(f"--search {key}: found {values!r}; allowed with :log: LOW above 0")
    return Axis(key, low=first, high=last, log=bool(scale))


def _setting(key: str, recipe: Recipe) -> Any:
    """The value that the recipe has for `section.key`. Raises UserError where it has none, or none to be searched."""
    # Nor who writes content: the graph of a trial is kept by its encoders and its own settings.
    left_out = ("split", "describe", "profiles", "finetune")
    sections = {name: table for name, table in recipe.to_dict().items() if name not in left_out}
    section, _, name = key.partition(".")
    if section == "split" or key in FIXED:
        raise UserError(f"--search {key}: cannot be searched: all trials have to be measured alike")
    if section not in sections:
        raise UserError(f"--search {key}: unknown section {section!r}; allowed: {', '.join(sections)}")
    allowed = [each for each in sections[section] if f"{section}.{each}" not in FIXED]
    if name not in allowed:
        raise UserError(f"--search {key}: unknown key {name!r}; allowed: {', '.join(allowed) or 'none'}")
    return sections[section][name]


def _value(text: str) -> Any:
    """As TOML has it; a bare word is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
