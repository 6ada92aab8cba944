"""Who puts content into words: `--set describe.key=value` for pictures, `--set profiles.key=value` for profiles.

An empty `model` is none; what a model has no answer to is said without it.
"""

from dataclasses import dataclass

from gnnrec.errors import UserError
from gnnrec.language.settings import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterConfig(ModelConfig):
    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        if self.provider == "openai" and not self.model:
            raise UserError(f"{self.section}.model: found ''; allowed with openai: the name of a model of the server")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig(WriterConfig):
    """`model`: one that captions pictures, or is shown them in a chat."""

    section = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilesConfig(WriterConfig):
    """`model`: a language model, such as smollm2."""

    noun: str = "things"  # what the items are, in the plural, as the prompt calls them: movies, courses, …
    history: int = 10  # things of a user's past that are named, the newest ones

    section = "profiles"

    def __post_init__(self) -> None:
        WriterConfig.__post_init__(self)
        self.check_least_one("history")
        self.check_noun(self.noun)
