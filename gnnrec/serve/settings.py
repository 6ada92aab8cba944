"""What the service allows, and how long it waits."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gnnrec.errors import UserError

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig

ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\sA-Z]+")  # as browsers send it: small letters, no path, no last slash


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    rate: float = 0.0  # requests a second of one caller (API key, else address), twice as many at once; 0 for no limit
    max_body: int = 16 << 20  # bytes of a request
    timeout: float = 10.0  # seconds that a request may take, its body included
    start_timeout: float = 60.0  # seconds more while a run's model and graph are read: at the start, or for /admin/run
    origins: tuple[str, ...] = ()  # web pages of other hosts that may call (CORS)
    window: float = 0.001  # seconds that the first request of a batch waits for others
    max_batch: int = 64  # requests that are scored as one matrix product
    max_waiting: int = 256  # requests that wait to be scored; more are told to come again
    # the same for what takes long: explanations, the language model, texts, pictures and sounds
    max_waiting_slow: int = 16
    private_scoring: bool = False  # whether encrypted vectors are scored; see privacy/homomorphic.py
    llm: "LLMConfig | None" = None  # the language model that may reorder lists, if any
    retention_days: float | None = None  # of feedback; 0 for ever; None as the data of the run says
    cached_lists: int = 20_000  # answers that are kept, of one run; 0 for none

    def __post_init__(self) -> None:
        if not self.rate >= 0:
            raise UserError(f"serve --rate: found {self.rate}; allowed: 0 (no limit) or more")
        if not self.timeout > 0:
            raise UserError(f"serve --timeout: found {self.timeout}; allowed: above 0")
        if self.retention_days is not None and not 0 <= self.retention_days < float("inf"):
            raise UserError(f"serve --retention-days: found {self.retention_days}; allowed: 0 (for ever) or more")
        if self.cached_lists < 0:
            raise UserError(f"serve --cached-lists: found {self.cached_lists}; allowed: 0 (none) or more")
        for origin in self.origins:
            if origin != "*" and not ORIGIN.fullmatch(origin):
                allowed = "*, or such as https://shop.example: small letters, no path, no last slash"
                raise UserError(f"serve --allow-origin: found {origin!r}; allowed: {allowed}")
