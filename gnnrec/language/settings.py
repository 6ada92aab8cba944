"""What every section of settings has that names a model: where it is, and what all its answers may cost."""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gnnrec.errors import UserError

if TYPE_CHECKING:
    from gnnrec.language.endpoint import Budget

PROVIDERS = ("local", "openai")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """`section`: its name, as errors call it."""

    provider: str = "local"  # local: weights on this machine; openai: any server that speaks its protocol
    model: str = ""  # local: a name of `gnnrec models`, a hub id or a folder; openai: the server's name for it
    base_url: str = ""  # of the server, such as http://127.0.0.1:8080/v1
    revision: str = ""  # of a server's model, where it changes behind its name; another one is asked anew
    seconds: float = 600.0  # budget of the model that is talked to: time,
    calls: int = 20_000  # questions,
    tokens: int = 20_000_000  # and tokens

    section = "model"

    def __post_init__(self) -> None:
        self.check_least_one("calls", "tokens")
        if not 0 < self.seconds <= 1e6:
            raise UserError(f"{self.section}.seconds: found {self.seconds}; allowed: above 0, at most 1e6")
        if self.provider not in PROVIDERS:
            raise UserError(f"{self.section}.provider: found {self.provider!r}; allowed: {', '.join(PROVIDERS)}")
        if self.base_url:
            check_address(self.base_url, self.section)
            if self.provider == "local":  # whoever names a server wants it asked
                raise UserError(
                    f"{self.section}.base_url: found an address; allowed: with {self.section}.provider=openai"
                )

    def check_least_one(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise UserError(f"{self.section}.{name}: found {getattr(self, name)}; allowed: 1 or more")

    def check_noun(self, noun: str) -> None:
        """What the items are, in the plural: it stands in prompts, so that it may not be more than a few words."""
        if not noun.replace(" ", "").replace("-", "").isalpha():
            raise UserError(f"{self.section}.noun: found {noun!r}; allowed: letters, such as movies")

    def budget(self) -> "Budget":
        from gnnrec.language.endpoint import Budget

        return Budget(self.seconds, self.calls, self.tokens)


def check_address(base_url: str, section: str) -> None:
    """Raises UserError for what is no address of a server, and for one with a name or password in it: settings are kept
    in runs and printed."""
    try:
        address = urlsplit(base_url)
        whole = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise UserError(f"{section}.base_url: found {base_url!r}; allowed: an address such as http://127.0.0.1:8080/v1")
    if address.username is not None:
        raise UserError(f"{section}.base_url: found a name or password; allowed: a key in GNNREC_LLM_KEY")
