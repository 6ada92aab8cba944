"""All augmentations of a modality, one after the other, on content as encoders take it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np

from gnnrec.encoders.augment import audio, image, text
from gnnrec.encoders.augment.settings import AugmentConfig
from gnnrec.errors import UserError

# modality -> setting -> (content, strength, random) -> content, in the order in which they follow each other
AUGMENTATIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "image": {"crop": image.crop, "rotation": image.rotation, "flip": image.flip, "colour": image.colour},
    "audio": {
        **{"shift": audio.shift, "stretch": audio.stretch, "pitch": audio.pitch},
        **{"noise": audio.noise, "gain": audio.gain},
    },
    "text": {
        **{"field_dropout": text.field_dropout, "field_shuffle": text.field_shuffle},
        **{"token_dropout": text.token_dropout, "token_shuffle": text.token_shuffle},
    },
}


def augmented(contents: Sequence[Any], modality: str, config: AugmentConfig, seed: int) -> list[Any]:
    """Another view of each content: PIL pictures, RGB; `Sound`s; or texts. None, missing content, stays None.

    The draws depend on the seed, the row and the augmentation alone, so that a strength that changes moves no other
    draw: batches and epochs need seeds of their own. No global random state is read or touched, and rows may be
    handled in threads. Raises UserError for a modality that has no augmentations.
    """
    if modality not in AUGMENTATIONS:
        raise UserError(f"augmentation: found modality {modality!r}; allowed: {', '.join(AUGMENTATIONS)}")
    return [
        None if content is None else _view(content, modality, config, (seed, row))
        for row, content in enumerate(contents)
    ]


def alone(config: AugmentConfig, name: str) -> AugmentConfig:
    """The config with one augmentation only, all others at 0."""
    return replace(config, **{field.name: 0.0 for field in fields(config) if field.name != name})


def _view(content: Any, modality: str, config: AugmentConfig, seed: tuple[int, int]) -> Any:
    strengths, changed = asdict(config), content
    for step, (name, augmentation) in enumerate(AUGMENTATIONS[modality].items()):
        if strength := strengths[name]:
            changed = augmentation(changed, strength, np.random.default_rng((*seed, step)))
    return audio.within_range(changed) if modality == "audio" and changed is not content else changed
