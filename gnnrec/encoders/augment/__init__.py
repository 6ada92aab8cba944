"""Other views of pictures, sounds and texts, to fit encoders by: the same content, drawn anew by a seed."""

from gnnrec.encoders.augment.apply import AUGMENTATIONS, alone, augmented
from gnnrec.encoders.augment.audio import Sound
from gnnrec.encoders.augment.settings import AugmentConfig

__all__ = ["AUGMENTATIONS", "AugmentConfig", "Sound", "alone", "augmented"]
