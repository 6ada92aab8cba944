"""Who puts content into words: `--set describe.key=value` for pictures, `--set profiles.key=value` for profiles."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gnnrec.errors import UserError
from gnnrec.language.server import PROVIDERS

if TYPE_CHECKING:
    from gnnrec.language.endpoint import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A model that writes, and what all its answers may cost. What it has no answer to is said without it."""

    provider: str = "local"  # local: weights on this machine; openai: any server that speaks its protocol
    model: str = ""  # local: a hub id or a folder; openai: the server's name for it; empty: no model
    revision: str = ""  # of a server's model, where it changes behind its name; another one is asked anew
    base_url: str = ""  # of the server, such as http://127.0.0.1:8080/v1
    seconds: float = 600.0
    calls: int = 20_000
    tokens: int = 20_000_000

    section = "model"

    def __post_init__(self) -> None:
        for name in ("calls", "tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{self.section}.{name}: found {getattr(self, name)}; allowed: 1 or more")
        if not 0 < self.seconds <= 1e6:
            raise UserError(f"{self.section}.seconds: found {self.seconds}; allowed: above 0, at most 1e6")
        if self.provider not in PROVIDERS:
            raise UserError(f"{self.section}.provider: found {self.provider!r}; allowed: {', '.join(PROVIDERS)}")
        if urlsplit(self.base_url).username is not None:  # settings are kept in every run
            raise UserError(f"{self.section}.base_url: found a name or password; allowed: a key in GNNREC_LLM_KEY")
        if self.provider == "openai" and not self.model:
            raise UserError(f"{self.section}.model: found ''; allowed with openai: the name of a model of the server")

    def budget(self) -> "Budget":
        from gnnrec.language.endpoint import Budget

        return Budget(self.seconds, self.calls, self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConfig(ModelConfig):
    """`model`: one that captions pictures, or is shown them in a chat."""

    section = "describe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilesConfig(ModelConfig):
    """`model`: a language model, such as smollm2."""

    noun: str = "things"  # what the items are, in the plural, as the prompt calls them: movies, courses, …
    history: int = 10  # things of a user's past that are named, the newest ones

    section = "profiles"

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        if self.history < 1:
            raise UserError(f"profiles.history: found {self.history}; allowed: 1 or more")
        if not self.noun.replace(" ", "").replace("-", "").isalpha():
            raise UserError(f"profiles.noun: found {self.noun!r}; allowed: letters, such as movies")
