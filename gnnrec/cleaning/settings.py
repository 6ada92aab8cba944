"""What is looked for, how far something has to go to be found, and which repairs are made unasked."""

from dataclasses import dataclass

from gnnrec.errors import UserError

KINDS = {  # kind -> what its repair does; in the order in which repairs of one cell are made
    "bad-rows": "left out, always",
    "broken-media": "cell emptied",
    "blank-media": "cell emptied",
    "shared-media": "cell emptied",
    "html": "markup stripped",
    "mojibake": "letters restored",
    "language": "cell emptied",
    "duplicate-items": "merged into the first",
    "near-pictures": "item merged into the first",
    "same-sounds": "item merged into the first",
    "near-texts": "item merged into the first",
    "timestamps": "row dropped",
    "duplicate-interactions": "row dropped, the first stays",
    "ratings": "row dropped",
    "bots": "user and rows dropped",
}
# What no one can want in the data. The others may be right: a remake, a film in French, a busy user.
SAFE = (
    *("bad-rows", "broken-media", "blank-media", "html", "mojibake"),
    *("duplicate-items", "timestamps", "duplicate-interactions"),
)


def parse_kinds(typed: str, where: str) -> tuple[str, ...]:
    """Comma-separated names of KINDS, or all. Raises UserError."""
    names = tuple(name.strip() for name in typed.split(",") if name.strip())
    if names == ("all",):
        return tuple(KINDS)
    for name in names:
        if name not in KINDS:
            raise UserError(f"{where}: found {name!r}; allowed: all, {', '.join(KINDS)}")
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanConfig:
    """`--set clean.key=value`."""

    skip: str = ""  # kinds that are not looked for, comma-separated
    most_copies: int = (
        10  # items with one content; more of them say that the content tells little, not that all are one
    )
    blank_spread: float = 2.0  # standard deviation of each colour (0 to 255) up to which a picture is of one colour
    hash_distance: int = 6  # of the 64 bits of the perceptual hash, up to which two pictures are near
    colour_distance: float = 24.0  # mean difference of their colours (0 to 255), since the hash knows of no colours
    text_likeness: float = 0.9  # Jaccard similarity of their runs of four letters from which two texts are near
    letters: int = 20  # shorter texts are neither compared nor judged by language
    language_confidence: float = 0.75  # from which a text counts as written in a language
    language_share: float = 0.05  # of the texts, from which a language is one of the catalogue's
    rating_share: float = 0.999  # of the ratings, which makes the scale
    bot_rows: int = 50  # users with fewer rows are not judged
    bot_hour: int = 1000  # rows within an hour
    bot_same: int = 200  # rows that all have one rating
    bot_times: float = 20.0  # as many rows as the busiest hundredth of users begins with

    def __post_init__(self) -> None:
        parse_kinds(self.skip, "clean.skip")
        for name, value, low, high in (
            ("most_copies", self.most_copies, 2, None),
            ("blank_spread", self.blank_spread, 0, 255),
            ("hash_distance", self.hash_distance, 0, 64),
            ("colour_distance", self.colour_distance, 0, 255),
            ("text_likeness", self.text_likeness, 0.1, 1),
            ("letters", self.letters, 1, None),
            ("language_confidence", self.language_confidence, 0, 1),
            ("language_share", self.language_share, 0, 1),
            ("rating_share", self.rating_share, 0.5, 1),
            ("bot_rows", self.bot_rows, 3, None),
            ("bot_hour", self.bot_hour, 2, None),
            ("bot_same", self.bot_same, 2, None),
            ("bot_times", self.bot_times, 1, None),
        ):
            if not low <= value or (high is not None and value > high):
                allowed = f"{low} or more" if high is None else f"{low} to {high}"
                raise UserError(f"clean.{name}: found {value}; allowed: {allowed}")

    def wants(self, kind: str) -> bool:
        return kind not in parse_kinds(self.skip, "clean.skip")
