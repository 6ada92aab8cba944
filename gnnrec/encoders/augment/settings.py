"""How strongly content is changed; 0 leaves it as it is, everywhere."""

from dataclasses import dataclass, fields

from gnnrec.errors import UserError

MOST = {"rotation": 180.0, "stretch": 0.9, "pitch": 24.0, "gain": 60.0, "noise": 10.0, "crop": 0.95}  # of all others 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Each amount is drawn uniformly from nothing to the strength, in both directions where there are two."""

    # pictures
    crop: float = 0.4  # share of the area that is cut off; what is left is brought back to the old size
    rotation: float = 15.0  # degrees
    flip: float = 0.5  # probability of left for right
    colour: float = 0.3  # share by which brightness, contrast and saturation vary; of the colour wheel a quarter of it
    # sounds
    noise: float = 0.1  # white noise over the sound, root mean squares: 0.1 is a signal-to-noise ratio of 20 dB
    shift: float = 0.5  # share of the length by which the sound is rotated in time
    stretch: float = 0.15  # share by which it is quicker or slower, at the same pitch
    pitch: float = 2.0  # semitones, at the same speed
    gain: float = 6.0  # dB
    # texts
    field_dropout: float = 0.3  # probability of a field to be left out
    field_shuffle: float = 0.5  # probability that the fields come in another order
    token_dropout: float = 0.2  # probability of a token to be left out
    token_shuffle: float = 0.3  # share of the tokens that change places

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), MOST.get(field.name, 1.0)
            if not 0 <= value <= most:
                raise UserError(f"augment.{field.name}: found {value}; allowed: 0 to {most:g}")
