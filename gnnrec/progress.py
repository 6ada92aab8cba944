"""One progress bar for the whole product: shown on a terminal only, and only for work over two seconds."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from tqdm import tqdm

AFTER = 2.0  # seconds of work

_hidden = ContextVar("hidden", default=False)


def progress(iterable: Iterable[Any] | None = None, *, total: int | None = None, text: str, unit: str = "it") -> Any:
    """A tqdm bar with the time left. `disable=None` keeps it silent where stderr is not a terminal."""
    return tqdm(
        iterable,
        total=total,
        desc=text,
        unit=unit,
        delay=AFTER,
        disable=True if _hidden.get() else None,
        leave=False,
        dynamic_ncols=True,
    )


@contextmanager
def without_progress() -> Iterator[None]:
    """No bars inside, on a terminal neither."""
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)
